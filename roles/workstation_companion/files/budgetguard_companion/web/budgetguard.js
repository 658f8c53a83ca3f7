// Copyright (c) 2026, BudgetGuard TechOps contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The artist's side: a tab with the status and the modes. There is no field for credentials, and no secret comes here.
// How a tab is made: https://docs.comfy.org/custom-nodes/js/javascript_sidebar_tabs

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { openDialog } from "./dialog.js";

const STORED = "budgetguard_config";
const MODES = ["MANUAL", "LOWEST PRICE", "LOCAL"];
const NODES = ["BudgetGuardNIM", "BudgetGuardNIMText"];
const PROVIDERS = ["nvidia", "aws", "azure", "gcp"];
// Where a node keeps what the artist chose by hand, in the graph's own file.
const KEPT = "budgetguard_manual";
const YELLOW = "⚠ Server Credentials Not Found - call your TechOps technician";
const SECONDS_BETWEEN_LOOKS = 30;

const UNREACHABLE = {
    ok: false,
    text: YELLOW,
    reason: "unreachable",
    detail: "ComfyUI's server does not answer.",
    cure: "Start ComfyUI again; this page finds it by itself.",
    nodes: {},
};

let status = UNREACHABLE;
let panel = null;
let drawn = "";

async function ask(path) {
    const answer = await api.fetchApi(path, { cache: "no-store" });
    if (!answer.ok) {
        throw new Error(`HTTP ${answer.status}`);
    }
    return answer.json();
}

// The public BudgetGuard node looks here. Booleans and nothing else are written.
function store() {
    const found = status.credentials_status ?? {};
    const booleans = Object.fromEntries(PROVIDERS.map((name) => [name, found[name] === true]));
    localStorage.setItem(STORED, JSON.stringify({ credentials_status: booleans }));
}

async function look() {
    try {
        status = await ask("/budgetguard/api/status");
    } catch {
        status = { ...UNREACHABLE, contact: status.contact };
    }
    store();
    draw();
}

function element(name, text = "", className = "") {
    const made = document.createElement(name);
    made.textContent = text;
    made.className = className;
    return made;
}

// Draws only where something is different, so that what has the keyboard keeps it and nothing is read out twice.
function draw() {
    const now = JSON.stringify([status, ourNodes().map((node) => value(node, "mode"))]);
    if (!panel?.isConnected || (panel.hasChildNodes() && drawn === now)) {
        return;
    }
    drawn = now;
    const focused = panel.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const parts = [statusBox()];
    if (!status.ok) {
        parts.push(forTechOps());
    }
    parts.push(modesBox(), cloudBox(), nodesBox());
    panel.replaceChildren(...parts);
    if (focused) {
        panel.querySelector(`[data-focus="${focused}"]`)?.focus();
    }
}

function statusBox() {
    const box = element("div", status.text, status.ok ? "bgc-status bgc-green" : "bgc-status bgc-yellow");
    box.id = "budgetguard-status";
    box.setAttribute("role", "status");
    return box;
}

function forTechOps() {
    const box = element("div", "", "bgc-reason");
    box.id = "budgetguard-reason";
    box.dataset.reason = status.reason ?? "";
    if (status.contact) {
        box.append(element("div", `TechOps: ${status.contact}`, "bgc-contact"));
    }
    box.append(element("div", "For TechOps", "bgc-title"), element("div", status.detail ?? ""));
    if (status.cure) {
        box.append(element("div", status.cure));
    }
    return box;
}

function modesBox() {
    const box = element("div", "", "bgc-modes");
    const current = new Set(ourNodes().map((node) => value(node, "mode")));
    for (const mode of MODES) {
        const button = element("button", mode, "bgc-mode");
        button.dataset.mode = button.dataset.focus = mode;
        button.disabled = !current.size;
        button.setAttribute("aria-pressed", String(current.size === 1 && current.has(mode)));
        button.onclick = () => switchAll(mode);
        box.append(button);
    }
    const whole = element("div");
    const note = current.size ? "How all BudgetGuard nodes choose where they run:" : "This workflow has no BudgetGuard node yet.";
    whole.append(element("div", note, "bgc-title"), box);
    return whole;
}

function cloudBox() {
    const button = element("button", "Cloud nodes: start, stop, spent today", "bgc-mode bgc-wide");
    button.id = button.dataset.focus = "budgetguard-cloud";
    button.onclick = openDialog;
    return button;
}

function nodesBox() {
    const box = element("div");
    box.id = "budgetguard-nodes";
    const names = Object.keys(status.nodes ?? {});
    if (names.length) {
        box.append(element("div", "What runs where", "bgc-title"));
    }
    for (const name of names) {
        box.append(element("div", name, "bgc-node"));
        for (const place of status.nodes[name]) {
            const words = [place.provider, place.target, place.gpu_tier, place.price ?? "price not known", place.stale ? "not looked at lately" : ""];
            box.append(element("div", words.filter(Boolean).join(" · "), "bgc-place"));
        }
    }
    return box;
}

// -- modes ------------------------------------------------------------------------------------------------------------

function ourNodes() {
    return (app.graph?.nodes ?? app.graph?._nodes ?? []).filter((node) => NODES.includes(node.comfyClass));
}

function widget(node, name) {
    return node.widgets?.find((one) => one.name === name);
}

function value(node, name) {
    return widget(node, name)?.value;
}

async function switchAll(mode) {
    for (const node of ourNodes()) {
        widget(node, "mode").value = mode;
    }
    draw();
    await Promise.all(ourNodes().map(follow));
}

// What was chosen by hand is kept before a mode chooses instead, and comes back with MANUAL.
async function follow(node) {
    const mode = value(node, "mode");
    const provider = widget(node, "provider");
    if (!provider) {
        return;
    }
    if (mode === "MANUAL") {
        if (node.properties[KEPT]) {
            provider.value = node.properties[KEPT].provider;
            delete node.properties[KEPT];
        }
        provider.disabled = false;
        tell(node, "");
    } else {
        node.properties[KEPT] ??= { provider: provider.value };
        provider.disabled = true;
        await showChoice(node, mode, provider);
    }
    app.graph?.setDirtyCanvas(true, true);
}

// The server chooses again when the node runs; this shows what it would choose now.
async function showChoice(node, mode, provider) {
    const nim = value(node, "nim");
    const wanted = new URLSearchParams({ node: nim ?? "", mode });
    let choice;
    tell(node, "Looking for what is ready ...");
    try {
        choice = await ask(`/budgetguard/api/choice?${wanted}`);
    } catch {
        choice = { provider: null, text: "ComfyUI's server does not answer." };
    }
    if (value(node, "mode") !== mode || value(node, "nim") !== nim) {
        return; // The artist was quicker.
    }
    if (choice.provider) {
        provider.value = choice.provider;
    }
    tell(node, choice.text, Boolean(choice.provider));
}

function tell(node, text, good = true) {
    node.budgetguardText = text;
    node.budgetguardGood = good;
    node.setDirtyCanvas?.(true, true);
}

// Set up one node: its widgets speak to each other, and what it says is drawn below it.
function prepare(node) {
    node.properties ??= {};
    for (const name of ["mode", "nim"]) {
        const own = widget(node, name);
        const before = own.callback;
        own.callback = function (...given) {
            const result = before?.apply(this, given);
            follow(node).then(draw);
            return result;
        };
    }
    const executed = node.onExecuted;
    node.onExecuted = function (output) {
        executed?.apply(this, arguments);
        if (output?.budgetguard?.length) {
            tell(node, output.budgetguard[0], !output.budgetguard[0].startsWith("⚠"));
        }
    };
    // Where it is, and that it is there no more, counts once ComfyUI is done with it.
    const removed = node.onRemoved;
    node.onRemoved = function () {
        removed?.apply(this, arguments);
        setTimeout(draw);
    };
    setTimeout(draw);
    const foreground = node.onDrawForeground;
    node.onDrawForeground = function (context) {
        foreground?.apply(this, arguments);
        if (node.budgetguardText && !node.flags?.collapsed) {
            context.save();
            context.font = "12px sans-serif";
            context.textAlign = "left";
            const told = lines(context, node.budgetguardText, node.size[0] - 12);
            // A ground of its own, for it has to be read on dark and light canvases, and on what lies below it.
            context.fillStyle = node.budgetguardGood ? "#14491e" : "#4a3a10";
            context.fillRect(0, node.size[1] + 4, node.size[0], told.length * 15 + 8);
            context.fillStyle = node.budgetguardGood ? "#8ff0a4" : "#ffd84d";
            told.forEach((line, number) => context.fillText(line, 6, node.size[1] + 19 + number * 15));
            context.restore();
        }
    };
}

function lines(context, text, width) {
    const found = [""];
    for (const word of text.split(" ")) {
        const longer = `${found.at(-1)} ${word}`.trim();
        if (context.measureText(longer).width > width && found.at(-1)) {
            found.push(word);
        } else {
            found[found.length - 1] = longer;
        }
    }
    return found;
}

// -- ComfyUI ----------------------------------------------------------------------------------------------------------

const STYLE = `
.bgc-panel { padding: 8px; font-size: 13px; overflow-y: auto; height: 100%; box-sizing: border-box; }
.bgc-status { padding: 10px; border-radius: 4px; font-weight: 600; }
.bgc-green { background: #14491e; color: #8ff0a4; }
.bgc-yellow { background: #4a3a10; color: #ffd84d; }
.bgc-reason { margin-top: 8px; padding: 8px; border: 1px solid #7a6420; border-radius: 4px; overflow-wrap: anywhere; }
.bgc-title { margin: 12px 0 4px; opacity: 0.75; }
.bgc-reason .bgc-title:first-child { margin-top: 0; }
.bgc-contact { font-weight: 600; }
.bgc-modes { display: flex; gap: 4px; flex-wrap: wrap; }
.bgc-mode { padding: 6px 10px; border-radius: 4px; border: 1px solid #777; background: transparent; color: inherit; cursor: pointer; }
.bgc-mode:disabled { opacity: 0.4; cursor: default; }
.bgc-mode:focus-visible { outline: 2px solid #8ab4f8; outline-offset: 1px; }
.bgc-mode[aria-pressed="true"] { background: #2b5f9e; color: #fff; border-color: #2b5f9e; }
.bgc-wide { width: 100%; margin-top: 12px; }
.bgc-node { margin-top: 8px; font-weight: 600; }
.bgc-place { opacity: 0.85; }
`;

app.registerExtension({
    name: "BudgetGuard.Companion",
    async setup() {
        document.head.append(element("style", STYLE));
        app.extensionManager.registerSidebarTab({
            id: "budgetguard",
            icon: "pi pi-dollar",
            // The narrow bar may break it in two here.
            title: "Budget\u200bGuard",
            tooltip: "BudgetGuard",
            type: "custom",
            render(container) {
                panel = element("div", "", "bgc-panel");
                container.replaceChildren(panel);
                draw();
                look();
            },
        });
        setInterval(look, SECONDS_BETWEEN_LOOKS * 1000);
    },
    nodeCreated(node) {
        if (NODES.includes(node.comfyClass)) {
            prepare(node);
        }
    },
    loadedGraphNode(node) {
        if (NODES.includes(node.comfyClass)) {
            follow(node);
        }
    },
    afterConfigureGraph() {
        draw();
    },
});

// Before the public node is set up, which reads this once.
await look();
