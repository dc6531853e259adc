// The shop's page: a cart that is kept by the server, and an order that is submitted once.
//
// What makes it exact is small: the idempotency key is chosen and stored before the first request,
// and the same request is repeated with it until there is an answer.

const ANSWER_MS_MAX = 8000;
const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
const SAVE_DELAY_MS = 250;
const QUANTITY_MAX = 999;
const SHOWN_MAX = 120;
const STEPS = ["submitted", "placed", "charged", "shipped"];

const byId = (id) => document.getElementById(id);
const pounds = new Intl.NumberFormat("en-GB", { style: "currency", currency: "GBP" });
const money = (pence) => pounds.format(pence / 100);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** An element with properties, and children or text. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- Requests -------------------------------------------------------------------------------

/** There was no answer that settles anything: ask again. */
class NoAnswer extends Error {}

/** The server understood and refused: asking again would change nothing. */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The shop answered with status ${status}.`);
    this.status = status;
  }
}

/** One request. `lose` gives its answer up on purpose, so soon that it is lost on the way back. */
async function ask(method, path, { body, key, lose = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const giveUp = new AbortController();
  const timer = setTimeout(() => giveUp.abort(), lose ? 5 : ANSWER_MS_MAX);
  try {
    const request = { method, headers, signal: giveUp.signal, cache: "no-store" };
    if (body !== undefined) request.body = JSON.stringify(body);
    const answer = await fetch(path, request);
    const isLater = answer.status >= 500 || [408, 425, 429].includes(answer.status);
    const isBusy = answer.status === 409 && answer.headers.has("Retry-After");
    if (isLater || isBusy || lose) throw new NoAnswer();
    const read = await answer.json().catch((error) => {
      if (answer.ok) throw error;
      return {};
    });
    if (!answer.ok) throw new Refused(answer.status, read);
    return { status: answer.status, body: read };
  } catch (error) {
    throw error instanceof Refused ? error : new NoAnswer();
  } finally {
    clearTimeout(timer);
  }
}

/** Repeats `attempt(n)` with growing pauses until it is answered or refused. */
async function untilAnswered(attempt, onSilence = () => {}) {
  for (let asked = 1; ; asked += 1) {
    try {
      return { ...(await attempt(asked)), asked };
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      const pause = BACKOFF_MS[Math.min(asked, BACKOFF_MS.length) - 1];
      onSilence(asked, pause);
      await wait(pause * (0.75 + Math.random() / 2));
    }
  }
}

const onSilence = (asked, pause) =>
  say("waiting", `No answer to request ${asked}. Asking again in ${pause / 1000}\u00a0s, with the same key.`);

// ---- What the page knows --------------------------------------------------------------------

const storedCart = () => localStorage.getItem("semel.cart");
const otherTabs = "BroadcastChannel" in window ? new BroadcastChannel("semel.cart") : null;

let catalogue = [];
/** The cart as the server has it; `id` is null until the first gift is put in. */
let cart = noCart();
/** The lines by stock code, ahead of the server by what has not been saved yet. */
let lines = new Map();
let order = null;
/** Changes made to the lines, and how many of them the server is known to have. */
let changes = 0;
let saved = 0;
let saving = null;
let saveTimer = 0;
let pollTimer = 0;
let isSubmitting = false;
let isReceiptSeen = false;

function noCart() {
  return { id: null, customer: null, order: null };
}

function adopt(answer) {
  cart = { id: answer.cart, customer: answer.customer, order: answer.order };
  lines = new Map();
  for (const line of answer.lines) {
    const same = lines.get(line.sku);
    lines.set(line.sku, same ? { ...same, quantity: same.quantity + line.quantity } : line);
  }
  if (cart.order && order?.order !== cart.order) follow(cart.order);
}

const totalPence = () => [...lines.values()].reduce((sum, line) => sum + line.quantity * line.unit_price_pence, 0);
const count = () => [...lines.values()].reduce((sum, line) => sum + line.quantity, 0);
const isOpen = () => !cart.order && !isSubmitting;

/** The key of a deed: made once, kept before it is first used, the same in every tab. */
function keyOf(deed) {
  const name = `semel.key.${deed}`;
  const key = localStorage.getItem(name) ?? newKey();
  localStorage.setItem(name, key);
  return key;
}

// ---- Cart -----------------------------------------------------------------------------------

/** Shows the cart that the browser knows by its id, from whichever tab it comes. A submission that
 *  was under way when the page was closed or reloaded goes on with its key. */
async function loadCart({ goOn = false } = {}) {
  const id = storedCart();
  if (!id) return forget();
  try {
    const { body } = await untilAnswered(() => ask("GET", `/api/carts/${encodeURIComponent(id)}`),
      (asked) => say("waiting", `The shop does not answer (${asked}); the cart appears as soon as it does.`));
    if (storedCart() !== id || saving || saveTimer) return;
    adopt(body);
    saved = changes;
    if (!cart.order) say();
    render();
    if (goOn && !cart.order && localStorage.getItem(`semel.key.submit.${id}`)) await submit();
  } catch (error) {
    if (error.status !== 404) return say("wrong", error.message);
    localStorage.removeItem("semel.cart");
    forget();
  }
}

function forget() {
  clearTimeout(pollTimer);
  [cart, lines, order] = [noCart(), new Map(), null];
  saved = changes;
  say();
  render();
}

function change(product, quantity) {
  if (!isOpen()) return;
  const kept = Math.min(Math.max(Math.trunc(quantity) || 0, 0), QUANTITY_MAX);
  if (kept === 0) lines.delete(product.sku);
  else lines.set(product.sku, { ...product, quantity: kept });
  changes += 1;
  render();
  clearTimeout(saveTimer);
  saveTimer = setTimeout(save, SAVE_DELAY_MS);
}

/** Sends the lines until the server has the newest, one request at a time; false if it refuses. */
function save() {
  clearTimeout(saveTimer);
  saveTimer = 0;
  saving ??= saveAll().catch(refused).finally(() => { saving = null; });
  return saving;
}

async function saveAll() {
  for (let renewed = false; !cart.id || saved !== changes;) {
    try {
      if (!cart.id) await begin();
      await untilAnswered(saveOnce,
        (asked) => say("waiting", `Not saved yet: the shop does not answer (${asked}). Still trying.`));
    } catch (error) {
      if (error.status !== 404 || renewed) throw error;
      // The shop has begun anew and knows no carts: so does this page, with the same lines.
      renewed = true;
      localStorage.removeItem("semel.cart");
      cart = noCart();
    }
  }
  if (!isSubmitting) say();
  otherTabs?.postMessage(cart.id);
  render();
  return true;
}

/** Sends the lines as they are by now; they may change again before the answer. */
async function saveOnce() {
  const sent = changes;
  const { body } = await ask("PUT", `/api/carts/${encodeURIComponent(cart.id)}/lines`, { body: [...lines.values()] });
  saved = sent;
  if (saved === changes) adopt(body);
}

/** Shows why, and what the server has: most likely the cart was submitted in another tab. */
async function refused(error) {
  try {
    const { body } = await untilAnswered(() => ask("GET", `/api/carts/${encodeURIComponent(cart.id)}`));
    adopt(body);
    saved = changes;
  } catch {
    // The shop does not know the cart; the next press begins another with the same lines.
    localStorage.removeItem("semel.cart");
    cart = noCart();
  }
  say("wrong", error.message);
  render();
  return false;
}

/** Begins a cart, unless another tab has just begun one. */
async function begin() {
  const create = async () => {
    if (!storedCart()) {
      const customer = byId("customer").value.trim();
      const { body } = await untilAnswered(() => ask("POST", "/api/carts", { body: customer ? { customer } : {} }),
        (asked) => say("waiting", `The shop does not answer (${asked}). Still trying.`));
      localStorage.setItem("semel.cart", body.cart);
      cart.customer = customer || null;
    }
    cart.id = storedCart();
  };
  await (navigator.locks ? navigator.locks.request("semel.cart", create) : create());
}

// ---- Order ----------------------------------------------------------------------------------

/** Submits the cart. Pressed twice, it still runs once; run twice, it still sends one key. */
async function submit({ lose = false } = {}) {
  if (isSubmitting || cart.order || lines.size === 0) return;
  await settled(async () => {
    const key = keyOf(`submit.${cart.id}`);
    say("waiting", "Placing the order …");
    const path = `/api/carts/${encodeURIComponent(cart.id)}/submit`;
    const { body, asked } = await untilAnswered((n) => ask("POST", path, { body: {}, key, lose: lose && n === 1 }), onSilence);
    submitted(body.order);
    say("good", asked === 1 ? "Placed." : `Answered when asked for the ${ordinal(asked)} time: one key, one order.`);
  });
}

/** Runs one submission after everything is saved, with the cart closed to changes. */
async function settled(run) {
  isSubmitting = true;
  render();
  try {
    const isSaved = await save();
    if (isSaved && !cart.order) await run();
  } catch (error) {
    localStorage.removeItem(`semel.key.submit.${cart.id}`);
    await refused(error);
  } finally {
    isSubmitting = false;
    render();
  }
}

function submitted(id) {
  cart.order = id;
  otherTabs?.postMessage(cart.id);
  follow(id);
}

const ordinal = (n) => `${n}${{ 1: "st", 2: "nd", 3: "rd" }[n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] ?? "th"}`;

/** Asks for the order's progress: often at first, seldom once it is shipped or cancelled. */
function follow(id) {
  clearTimeout(pollTimer);
  order = { order: id, status: "submitted", charges: [], refunds: [], shipments: 0, coupon: false };
  const begun = Date.now();
  const poll = async () => {
    try {
      const { body } = await ask("GET", `/api/orders/${encodeURIComponent(id)}`);
      if (cart.order !== id) return;
      order = body;
      render();
    } catch {
      // Not known yet, or no answer: the next question may fare better.
    }
    if (cart.order !== id) return;
    const isDone = ["shipped", "cancelled"].includes(order.status);
    pollTimer = setTimeout(poll, isDone ? 5000 : Date.now() - begun < 15000 ? 700 : 2000);
  };
  poll();
}

async function cancel() {
  const id = cart.order;
  if (!id) return;
  const key = keyOf(`cancel.${id}`);
  say("waiting", "Cancelling …");
  try {
    await untilAnswered(() => ask("POST", `/api/orders/${encodeURIComponent(id)}/cancel`, { body: {}, key }), onSilence);
    say("good", "Cancelling was asked for: whatever was charged comes back.");
  } catch (error) {
    say("wrong", error.message);
  }
}

function startAgain() {
  localStorage.removeItem("semel.cart");
  byId("verdict").replaceChildren();
  forget();
  otherTabs?.postMessage(null);
  byId("shelf").focus();
}

// ---- Trying to break it ---------------------------------------------------------------------

/** Two submissions of one cart in parallel; both answers are shown as they came. */
async function race(labels, keys) {
  const path = () => `/api/carts/${encodeURIComponent(cart.id)}/submit`;
  const one = async (label, key) => {
    const start = performance.now();
    const answer = await untilAnswered(() => ask("POST", path(), { body: {}, key })).catch((error) => error);
    const ms = Math.round(performance.now() - start);
    return { label, key, ms, status: answer.status, order: answer.body?.order, why: answer.message };
  };
  const run = async () => {
    const answers = await Promise.all(keys().map((key, place) => one(labels[place], key)));
    const { body } = await untilAnswered(() => ask("GET", `/api/carts/${encodeURIComponent(cart.id)}`));
    const id = body.order ?? answers.find((answer) => answer.order)?.order;
    showVerdict(answers, id);
    if (id && cart.order !== id) submitted(id);
    say();
  };
  if (isSubmitting || lines.size === 0) return;
  if (cart.order) await run().catch((error) => say("wrong", error.message));
  else await settled(run);
  byId("verdict").scrollIntoView({ block: "nearest" });
}

function showVerdict(answers, id) {
  const orders = new Set(answers.map((answer) => answer.order).filter(Boolean));
  const slips = answers.map(({ label, key, ms, status, order, why }) => make("li", {},
    make("strong", { textContent: label }),
    order ? make("code", { textContent: `order ${short(order)}` }) : make("span", { textContent: `Turned away: ${why}` }),
    make("small", { textContent: `${status ?? "?"} after ${ms} ms, key ${key.slice(0, 6)}…` })));
  const isOne = orders.size === 1 && orders.has(id);
  const words = orders.size > 1 ? "Two orders: this should not happen."
    : isOne && answers.every((answer) => answer.order) ? "Two requests, one order: both answers name the same."
    : isOne ? "Two requests, one order: the other was turned away."
    : "No order came of it.";
  byId("verdict").replaceChildren(make("ul", { className: "slips" }, ...slips),
    make("p", { className: isOne ? "good" : "wrong", textContent: words }));
}

const short = (id) => (id.length > 14 ? `${id.slice(0, 6)}…${id.slice(-4)}` : id);

// ---- What the page shows --------------------------------------------------------------------

function say(state = "", text = "") {
  const notice = byId("notice");
  notice.dataset.state = state;
  if (notice.textContent !== text) notice.textContent = text;
}

function renderLines() {
  // Unchanged lines stay, and with them the focus on one of their buttons.
  const drawn = JSON.stringify([...lines.values(), isOpen()]);
  if (byId("lines").dataset.drawn === drawn) return;
  byId("lines").dataset.drawn = drawn;
  const shown = [...lines.values()].map((line) => {
    const item = make("li", {},
      make("span", { className: "quantity", textContent: `${line.quantity} ×` }),
      make("span", { textContent: line.description || line.sku }),
      make("span", { className: "money", textContent: money(line.quantity * line.unit_price_pence) }));
    if (isOpen()) {
      const remove = make("button", { type: "button", className: "remove", textContent: "×", title: "Take out" });
      remove.setAttribute("aria-label", `Take out ${line.description}`);
      remove.addEventListener("click", () => {
        change(line, 0);
        byId("receipt-title").focus();
      });
      item.append(remove);
    }
    return item;
  });
  byId("lines").replaceChildren(...shown);
}

function renderOrder() {
  byId("order").hidden = !order;
  if (!order) return;
  const reached = order.status === "cancelled" ? (order.charges.length ? 2 : 1) : STEPS.indexOf(order.status);
  for (const [place, step] of [...byId("progress").children].entries()) {
    step.dataset.state = place <= reached ? "done" : order.status === "cancelled" ? "never" : "ahead";
    if (place === reached) step.setAttribute("aria-current", "step");
    else step.removeAttribute("aria-current");
  }
  byId("progress").dataset.status = order.status;
  const sums = (parts) => parts.map((part) => money(part.pence)).join(" + ");
  const times = (n) => (n === 1 ? "once" : `${n} times: damage`);
  fact("charges", order.charges.length, `${times(order.charges.length)} – ${sums(order.charges)}`);
  fact("shipments", order.shipments, times(order.shipments));
  byId("refund-row").hidden = order.refunds.length === 0;
  byId("refunds").textContent = sums(order.refunds);
  byId("coupon").hidden = !order.coupon;
}

function fact(id, howOften, words) {
  const ended = order.status === "cancelled" ? "not at all" : "not yet";
  byId(id).textContent = howOften === 0 ? ended : words;
  byId(id).classList.toggle("damage", howOften > 1);
}

function render() {
  const gifts = count();
  const isEmpty = lines.size === 0;
  const status = cart.order ? order?.status ?? "submitted" : null;
  byId("receipt").classList.toggle("placed", Boolean(cart.order));
  byId("receipt-title").textContent = status === "cancelled" ? "Your order, cancelled" : cart.order ? "Your order" : "Your cart";
  byId("cart-number").textContent = cart.order ? `order ${short(cart.order)}` : cart.id ? `cart ${short(cart.id)}` : "not begun";
  byId("cart-number").title = cart.order ?? cart.id ?? "";
  byId("customer").disabled = Boolean(cart.id);
  byId("customer").placeholder = cart.id ? "a guest" : "a guest, unless you say";
  if (cart.id) byId("customer").value = cart.customer ?? "";
  byId("who-hint").hidden = Boolean(cart.id);
  renderLines();
  renderOrder();
  byId("nothing").hidden = !isEmpty;
  byId("total").textContent = money(totalPence());

  byId("submit").hidden = Boolean(cart.order);
  byId("submit").setAttribute("aria-disabled", String(isEmpty || isSubmitting));
  byId("cancel").hidden = !["submitted", "placed", "charged"].includes(status);
  byId("again").hidden = !cart.order;
  for (const id of ["twice", "tabs"]) byId(id).disabled = isEmpty || isSubmitting;
  byId("lose").disabled = isEmpty || !isOpen();
  byId("to-counter").hidden = isEmpty || isReceiptSeen;
  byId("bar-count").textContent = `${gifts} ${gifts === 1 ? "gift" : "gifts"} · ${money(totalPence())}`;
  for (const item of byId("products").querySelectorAll("[data-sku]")) renderStepper(item);
}

function renderStepper(item) {
  const quantity = lines.get(item.dataset.sku)?.quantity ?? 0;
  const [less, field, more] = item.querySelector(".stepper").children;
  item.classList.toggle("chosen", quantity > 0);
  if (field !== document.activeElement) field.value = quantity;
  field.disabled = !isOpen();
  less.disabled = !isOpen() || quantity === 0;
  more.disabled = !isOpen() || quantity === QUANTITY_MAX;
}

function product(gift) {
  const step = (sign, by, word) => {
    const button = make("button", { type: "button", textContent: sign });
    button.setAttribute("aria-label", `${word} ${gift.description}`);
    button.addEventListener("click", () => {
      change(gift, (lines.get(gift.sku)?.quantity ?? 0) + by);
      if (button.disabled) button.parentElement.querySelector("button:enabled")?.focus();
    });
    return button;
  };
  const field = make("input", { type: "number", min: 0, max: QUANTITY_MAX, value: 0, inputMode: "numeric" });
  field.setAttribute("aria-label", `How many: ${gift.description}`);
  field.addEventListener("change", () => {
    change(gift, Number(field.value));
    field.value = lines.get(gift.sku)?.quantity ?? 0;
  });
  const item = make("li", { className: "product" },
    parcel(gift.sku),
    make("h3", { textContent: gift.description || gift.sku }),
    make("p", { className: "price", textContent: money(gift.unit_price_pence) }),
    make("div", { className: "stepper" }, step("−", -1, "One less of"), field, step("+", 1, "One more of")));
  item.dataset.sku = gift.sku;
  return item;
}

/** A wrapped parcel whose paper and pattern follow from the stock code. */
function parcel(sku) {
  // FNV-1a, mixed once more: stock codes that differ in one digit must not look alike.
  const mixed = [...sku].reduce((sum, letter) => Math.imul(sum ^ letter.codePointAt(0), 16777619), 0x811c9dc5);
  const hash = (Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> 4);
  const draw = (tag, attributes) => {
    const shape = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    return shape;
  };
  const svg = draw("svg", { viewBox: "0 0 64 64", class: `parcel wrap-${hash % 7}`, "aria-hidden": "true" });
  svg.append(draw("rect", { x: 6, y: 16, width: 52, height: 44, rx: 3, class: "paper" }));
  const prints = [
    (x, y) => draw("circle", { cx: x, cy: y, r: 1.9 }),
    (x, y) => draw("path", { d: `M${x - 3} ${y}h6M${x} ${y - 3}v6M${x - 2} ${y - 2}l4 4M${x + 2} ${y - 2}l-4 4`, class: "stroke" }),
    (x, y) => draw("path", { d: `M${x} ${y - 3}l3 3-3 3-3-3z` }),
    (x, y) => draw("path", { d: `M${x - 4} ${y + 4}l8-8`, class: "stroke" }),
    (x, y) => draw("path", { d: `M${x} ${y - 4}l3.4 6.5h-6.8z` }),
  ];
  const print = prints[Math.floor(hash / 7) % prints.length];
  for (let row = 0; row < 4; row += 1) {
    for (let column = 0; column < 4; column += 1) {
      const x = 13 + column * 12 + (row % 2) * 3 - 1;
      const mark = print(x, 22 + row * 11);
      mark.classList.add("print");
      svg.append(mark);
    }
  }
  svg.append(
    draw("rect", { x: 28, y: 16, width: 8, height: 44, class: "ribbon" }),
    draw("path", { d: "M32 16C18 17 15 4 22 4c6 0 9 7 10 12zM32 16C46 17 49 4 42 4c-6 0-9 7-10 12z", class: "ribbon bow" }));
  return svg;
}

function renderProducts() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (gift) => `${gift.description} ${gift.sku}`.toLowerCase();
  const found = catalogue.filter((gift) => words.every((word) => text(gift).includes(word)));
  const shown = found.slice(0, SHOWN_MAX).map(product);
  byId("products").replaceChildren(...(shown.length ? shown : [make("li", { className: "empty", textContent: "No gift of that name." })]));
  byId("products").setAttribute("aria-busy", "false");
  byId("found").textContent = found.length > SHOWN_MAX ? `${SHOWN_MAX} of ${found.length} shown` : `${found.length} ${found.length === 1 ? "gift" : "gifts"}`;
  render();
}

// ---- Begin ----------------------------------------------------------------------------------

byId("search").addEventListener("submit", (event) => event.preventDefault());
byId("find").addEventListener("input", renderProducts);
byId("submit").addEventListener("click", () => submit());
byId("cancel").addEventListener("click", cancel);
byId("again").addEventListener("click", startAgain);
byId("lose").addEventListener("click", () => submit({ lose: true }));
byId("twice").addEventListener("click", () => race(["First press", "Second press"], () => {
  const key = keyOf(`submit.${cart.id}`);
  return [key, key];
}));
// Two tabs that know nothing of each other choose a key each; the cart is what they share.
byId("tabs").addEventListener("click", () => race(["This tab", "Another tab"], () => [keyOf(`submit.${cart.id}`), newKey()]));
otherTabs?.addEventListener("message", () => loadCart());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && isOpen()) loadCart();
});

new IntersectionObserver(([seen]) => {
  isReceiptSeen = seen.isIntersecting;
  render();
}).observe(byId("receipt"));

render();
loadCart({ goOn: true });
untilAnswered(() => ask("GET", "/api/catalogue"), (asked) => say("waiting", `The shop does not answer (${asked}). Still trying.`))
  .then(({ body }) => {
    catalogue = body;
    renderProducts();
  })
  .catch((error) => say("wrong", error.message));
