// Copyright (c) 2026, BudgetGuard TechOps contributors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The dialog of cloud nodes: what runs where and costs what; start, stop, stop when idle. No secret and no address comes
// here. The one thing that is typed in is the workstation's token, where ComfyUI can be reached from the network.

import { api } from "../../scripts/api.js";

const ROUTE = "/budgetguard/api/cloud-nodes";
const TOKEN = "budgetguard_token";
const SECONDS_BETWEEN_LOOKS = 10;
const IDLE_CHOICES = [0, 15, 30, 60, 120];
const YELLOW = "⚠ Server Credentials Not Found - call your TechOps technician";

let dialog = null;
let told = null;
let said = { text: "", good: true };
let question = null;
let timer = null;
const chosen = new Set();

export async function openDialog() {
    if (!dialog) {
        make();
    }
    said = { text: "", good: true };
    question = null;
    told = null;
    draw();
    dialog.showModal();
    timer ??= setInterval(look, SECONDS_BETWEEN_LOOKS * 1000);
    await look();
}

function make() {
    document.head.append(element("style", STYLE));
    dialog = element("dialog", "", "bgc-dialog");
    dialog.id = "budgetguard-dialog";
    dialog.setAttribute("aria-label", "Cloud nodes");
    // ComfyUI's own keys, such as the one that deletes a node, have nothing to do here.
    dialog.addEventListener("keydown", (event) => event.stopPropagation());
    dialog.addEventListener("close", () => {
        clearInterval(timer);
        timer = null;
    });
    document.body.append(dialog);
}

// -- asking the server ------------------------------------------------------------------------------------------------

// Draws only where something is different, so that an open list of choices stays open.
async function look() {
    const before = visible();
    try {
        const answer = await api.fetchApi(`${ROUTE}/status`, { cache: "no-store" });
        told = await answer.json();
    } catch {
        told = { ok: false, text: "ComfyUI's server does not answer.", cloud_nodes: [] };
    }
    if (visible() !== before) {
        draw();
    }
}

function visible() {
    return JSON.stringify(told && { ...told, spent_today: { ...told.spent_today, usd: null } });
}

// Returns what the server says, with the number of its answer.
async function send(action, node, more) {
    const body = { provider: node.provider, target: node.target, instance_name: node.instance_name, ...more };
    const headers = { "Content-Type": "application/json" };
    const token = sessionStorage.getItem(TOKEN);
    if (token) {
        headers["X-BudgetGuard-Token"] = token;
    }
    try {
        const answer = await api.fetchApi(`${ROUTE}/${action}`, { method: "POST", headers, body: JSON.stringify(body) });
        return { ...(await answer.json()), number: answer.status };
    } catch {
        return { ok: false, text: "ComfyUI's server does not answer.", number: 0 };
    }
}

// One after the other, so that many at once look to no cloud like an attack.
async function change(action, nodes, more = {}) {
    question = null;
    say("One moment ...", true);
    const questions = [];
    const texts = [];
    let good = true;
    for (const node of nodes) {
        const answer = await send(action, node, more);
        if (answer.number === 409) {
            questions.push({ node, text: answer.text });
            continue;
        }
        good &&= answer.ok === true;
        texts.push(answer.text);
        if (answer.reason === "token_needed") {
            sessionStorage.removeItem(TOKEN);
            break;
        }
    }
    if (questions.length) {
        question = { action, nodes: questions.map((one) => one.node), more, texts: questions.map((one) => one.text) };
    } else {
        chosen.clear();
    }
    say(texts.join("\n"), good);
    await look();
    if (question) {
        dialog.querySelector("[data-focus='confirm-no']")?.focus();
    }
}

// -- drawing ----------------------------------------------------------------------------------------------------------

function element(name, text = "", className = "") {
    const made = document.createElement(name);
    made.textContent = text;
    made.className = className;
    return made;
}

function button(text, focus, action) {
    const made = element("button", text, "bgc-mode");
    made.dataset.focus = focus;
    made.onclick = action;
    return made;
}

function say(text, good) {
    said = { text, good };
    draw();
}

// What has the keyboard keeps it.
function draw() {
    const focused = document.activeElement?.dataset?.focus;
    const typed = dialog.querySelector("#budgetguard-token")?.value ?? "";
    const parts = [element("h2", "Cloud nodes"), spentBox(), message()];
    if (question) {
        parts.push(questionBox());
    }
    if (told?.token_needed && !sessionStorage.getItem(TOKEN)) {
        parts.push(tokenBox(typed));
    }
    parts.push(table(), batchBox());
    dialog.replaceChildren(...parts);
    if (focused) {
        dialog.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    }
}

function spentBox() {
    const box = element("div", "", "bgc-spent");
    box.id = "budgetguard-spent";
    const spent = told?.spent_today;
    if (spent) {
        box.append(element("div", `Spent today by the studio on these NIMs: ${spent.text}`));
        if (spent.without.length) {
            box.append(element("div", `Not counted, as no price or time is known: ${spent.without.join(", ")}`, "bgc-small"));
        }
    }
    return box;
}

function message() {
    const problem = told && !told.ok ? told.text || YELLOW : "";
    const box = element("div", problem || said.text, problem || !said.good ? "bgc-said bgc-bad" : "bgc-said");
    box.id = "budgetguard-said";
    box.setAttribute("role", "status");
    return box;
}

function questionBox() {
    const { action, nodes, more, texts } = question;
    const box = element("div", "", "bgc-question");
    box.id = "budgetguard-question";
    box.setAttribute("role", "alert");
    box.append(...texts.map((text) => element("p", text)));
    const yes = action === "idle" ? "Stop when idle" : "Stop for everybody";
    box.append(
        button(yes, "confirm-yes", () => change(action, nodes, { ...more, confirmed: true })),
        button("Leave on", "confirm-no", () => {
            question = null;
            say("", true);
        }),
    );
    return box;
}

function tokenBox(typed) {
    const form = element("form", "", "bgc-question");
    const label = element(
        "label",
        "ComfyUI can be reached from the network. To start and stop NIMs, type this workstation's token. " +
            "Your TechOps technician knows it: ",
    );
    const field = element("input");
    field.id = "budgetguard-token";
    field.type = "password";
    field.autocomplete = "off";
    field.value = typed;
    field.dataset.focus = "token";
    label.append(field);
    form.append(label, button("Use it", "token-use", null));
    form.onsubmit = (event) => {
        event.preventDefault();
        // This tab of the browser alone, until it is closed.
        sessionStorage.setItem(TOKEN, field.value.trim());
        say("", true);
    };
    return form;
}

function keyOf(node) {
    return `${node.provider}/${node.target}/${node.instance_name}`;
}

function table() {
    const nodes = told?.cloud_nodes ?? [];
    if (!nodes.length) {
        return element("p", !told ? "Asking the clouds ..." : told.ok ? "There is no NIM that this workstation can start and stop." : "");
    }
    const made = element("table", "", "bgc-table");
    const head = element("tr");
    head.append(...["", "NIM", "Where", "Price", "State", "Stop when idle", ""].map((text) => element("th", text)));
    made.append(head, ...nodes.map(row));
    return made;
}

function row(node) {
    const key = keyOf(node);
    const made = element("tr");
    made.dataset.key = key;
    made.dataset.state = node.state;
    const tick = element("input");
    tick.type = "checkbox";
    tick.checked = chosen.has(key);
    tick.dataset.focus = `tick-${key}`;
    tick.setAttribute("aria-label", `Choose ${node.nodes.join(" + ")} on ${node.target}`);
    tick.onchange = () => {
        tick.checked ? chosen.add(key) : chosen.delete(key);
        draw();
    };
    const state = element("td", "", `bgc-state bgc-is-${node.state}`);
    state.append(element("div", stateText(node)));
    if (node.problem) {
        state.append(element("div", node.problem, "bgc-small bgc-bad"));
    }
    const price = node.hourly_usd === null ? "not known" : `${node.hourly_usd.toFixed(2)} USD per hour`;
    const where = [node.provider, node.target, node.gpu_tier].filter(Boolean).join(" · ");
    const on = node.state === "running" || node.state === "starting";
    const name = node.nodes.join(" + ");
    const act = on
        ? button("Stop", `act-${key}`, () => change("stop", [node]))
        : button("Start", `act-${key}`, () => change("start", [node]));
    act.setAttribute("aria-label", `${on ? "Stop" : "Start"} ${name} on ${node.target}`);
    made.append(cell(tick), element("td", name), element("td", where), element("td", price), state);
    made.append(cell(idleChoice(node, key, on)), cell(act));
    return made;
}

function cell(content) {
    const made = element("td");
    made.append(content);
    return made;
}

function idleChoice(node, key, on) {
    const made = element("select");
    made.dataset.focus = `idle-${key}`;
    made.disabled = !on;
    made.setAttribute("aria-label", `Stop ${node.nodes.join(" + ")} when idle`);
    for (const minutes of new Set([...IDLE_CHOICES, node.idle_minutes])) {
        const option = element("option", minutes ? `after ${minutes} minutes` : "never");
        option.value = String(minutes);
        option.selected = minutes === node.idle_minutes;
        made.append(option);
    }
    made.onchange = () => change("idle", [node], { minutes: Number(made.value) });
    return made;
}

function stateText(node) {
    if (node.state === "starting" && node.ready_in_minutes) {
        return `starting, ready in about ${node.ready_in_minutes} min`;
    }
    if (node.state === "running" && node.minutes !== null) {
        return `running for ${duration(node.minutes)}, since ${moment(new Date(node.since))}`;
    }
    return node.state;
}

// The day counts only where it is another one.
function moment(then) {
    const today = then.toDateString() === new Date().toDateString();
    return then.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

function duration(minutes) {
    return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function batchBox() {
    const box = element("div", "", "bgc-modes bgc-batch");
    const nodes = (told?.cloud_nodes ?? []).filter((node) => chosen.has(keyOf(node)));
    const start = button("Start chosen", "batch-start", () => change("start", nodes));
    const stop = button("Stop chosen", "batch-stop", () => change("stop", nodes));
    start.disabled = stop.disabled = !nodes.length;
    box.append(start, stop, button("Close", "close", () => dialog.close()));
    box.append(element("div", "A NIM is everybody's: stopping ends it for the whole studio. Idle stops count while ComfyUI is open.", "bgc-small"));
    return box;
}

const STYLE = `
.bgc-dialog { width: min(1150px, 94vw); max-height: 90vh; padding: 16px; border: 1px solid #777; border-radius: 6px;
  background: #222; color: #ddd; font: 13px sans-serif; margin: auto; }
.bgc-dialog::backdrop { background: rgb(0 0 0 / 55%); }
.bgc-dialog h2 { margin: 0 0 8px; font-size: 17px; }
.bgc-dialog button:focus-visible, .bgc-dialog select:focus-visible, .bgc-dialog input:focus-visible {
  outline: 2px solid #8ab4f8; outline-offset: 1px; }
.bgc-dialog button:disabled { opacity: 0.4; cursor: default; }
.bgc-dialog select, .bgc-dialog input[type="password"] { background: #333; color: inherit; border: 1px solid #777;
  border-radius: 4px; padding: 4px; }
.bgc-spent { font-weight: 600; }
.bgc-small { font-size: 12px; opacity: 0.85; font-weight: 400; margin-top: 2px; }
.bgc-said { min-height: 18px; margin: 8px 0; white-space: pre-line; color: #8ff0a4; }
.bgc-said.bgc-bad, .bgc-bad { color: #ffd84d; }
.bgc-question { border: 1px solid #7a6420; border-radius: 4px; padding: 8px; margin: 8px 0; }
.bgc-question p { margin: 0 0 8px; }
.bgc-question button, .bgc-question input { margin-right: 6px; }
.bgc-table { width: 100%; border-collapse: collapse; }
.bgc-table th { text-align: left; opacity: 0.75; font-weight: 400; }
.bgc-table th, .bgc-table td { padding: 6px; border-bottom: 1px solid #444; vertical-align: middle; }
.bgc-state { max-width: 340px; }
.bgc-is-running { color: #8ff0a4; }
.bgc-is-starting, .bgc-is-stopping { color: #8ab4f8; }
.bgc-batch { margin-top: 12px; align-items: center; }
`;
