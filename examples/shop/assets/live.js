// The live floor: orders, totals and faults as the shop sends them.
//
// Events only change what is known; the page is redrawn at most once a frame, and only where
// something changed, so that hundreds of events a second stay smooth. The shop sends the orders that
// it knows oldest first, then each as it changes.

const ROWS_MAX = 200;
const RECONNECT_MS = [500, 1000, 2000, 4000, 8000];
const DAMAGED_NAMED_MAX = 5;

const FAULTS = {
  message_duplicated: "Messages delivered twice",
  message_delayed: "Messages delayed",
  commit_failed_before: "Commits failed, nothing written",
  commit_failed_after: "Commits written, answer lost",
  handler_stretched: "Handlers slower than their lease",
  request_repeated: "Requests sent again",
  worker_killed: "Workers killed",
};

const byId = (id) => document.getElementById(id);
const pounds = new Intl.NumberFormat("en-GB", { style: "currency", currency: "GBP" });
const number = new Intl.NumberFormat("en-GB");
const money = (pence) => pounds.format(pence / 100);
const short = (id) => (id.length > 14 ? `${id.slice(0, 6)}…${id.slice(-4)}` : id);
/** What the customer calls an order; one without a name of its own is called by its id. */
const calledBy = (order) => (order.reference && order.reference !== order.order ? order.reference : "");
const isDamaged = (order) => order.charges > 1 || order.shipments > 1;

/** Writes a text only where it differs: an equal one would cost a layout. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- What is known --------------------------------------------------------------------------

/** Every order's place in the sequence of first sight; an old order does not come up as new. */
let places = new Map();
/** The newest orders by id, oldest first, and their rows once drawn. */
let recent = new Map();
/** What the damaged orders are called, by id; they are remembered after their rows have gone. */
let damaged = new Map();
let changed = new Set();
let totals = null;
let faults = {};
let isDrawing = false;
/** Set by a new connection: what follows tells everything anew. */
let isStale = false;

function startAnew() {
  isStale = false;
  places = new Map();
  recent = new Map();
  damaged = new Map();
  changed = new Set();
  byId("orders").replaceChildren();
}

function takeOrder(order) {
  if (isDamaged(order)) damaged.set(order.order, calledBy(order) || short(order.order));
  else damaged.delete(order.order);
  const known = recent.get(order.order);
  if (known) {
    known.order = order;
  } else if (!places.has(order.order)) {
    places.set(order.order, places.size);
    recent.set(order.order, { order, row: null });
    if (recent.size > ROWS_MAX) dropOldest();
  }
  changed.add(order.order);
}

function dropOldest() {
  const [id, { row }] = recent.entries().next().value;
  recent.delete(id);
  changed.delete(id);
  row?.remove();
}

function drawSoon() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(draw);
}

// ---- What is shown --------------------------------------------------------------------------

function draw() {
  isDrawing = false;
  drawOrders();
  drawTotals();
  drawFaults();
  drawVerdict();
}

function drawOrders() {
  const fresh = [];
  for (const id of changed) {
    const known = recent.get(id);
    if (!known) continue;
    if (!known.row) {
      known.row = newRow();
      fresh.unshift(known.row);
    }
    drawRow(known.row, known.order);
  }
  changed.clear();
  byId("orders").prepend(...fresh);
  byId("nothing").hidden = recent.size > 0;
  write(byId("shown"), places.size > recent.size ? `the newest ${recent.size} of ${number.format(places.size)} seen` : "");
}

function newRow() {
  const cell = (className = "") => make("td", { className });
  const order = make("th", { scope: "row" }, make("span"), make("small"));
  const status = make("td", {}, make("span", { className: "pill" }));
  return make("tr", {}, order, cell("customer"), status, cell("money"), cell("money"), cell("money"), cell("parcels"), cell("remarks"));
}

function drawRow(row, order) {
  const [name, customer, status, total, charged, refunded, parcels, remarks] = row.children;
  write(name.children[0], short(order.order));
  write(name.children[1], calledBy(order));
  name.title = order.order;
  write(customer, order.customer ?? "a guest");
  customer.classList.toggle("guest", !order.customer);
  const pill = status.firstChild;
  if (pill.dataset.status !== order.status) {
    pill.dataset.status = order.status;
    pill.textContent = order.status;
  }
  write(total, money(order.total_pence));
  write(charged, order.charged_pence ? money(order.charged_pence) : "–");
  write(refunded, order.refunded_pence ? money(order.refunded_pence) : "–");
  write(parcels, order.shipments ? String(order.shipments) : "–");
  const words = remarksOn(order);
  write(remarks, words);
  row.classList.toggle("damaged", isDamaged(order));
}

function remarksOn(order) {
  const words = [];
  if (order.charges > 1) words.push(`charged ${times(order.charges)}`);
  if (order.shipments > 1) words.push(`shipped ${times(order.shipments)}`);
  if (order.coupon) words.push("coupon");
  return words.join(", ");
}

const times = (count) => (count === 2 ? "twice" : `${count} times`);

function drawTotals() {
  if (!totals) return;
  for (const place of document.querySelectorAll("[data-total]")) {
    const value = totals[place.dataset.total] ?? 0;
    write(place, place.dataset.total.endsWith("_pence") ? money(value) : number.format(value));
  }
  byId("dead-letters").classList.toggle("wrong", totals.dead_letters > 0);
}

function drawFaults() {
  const list = byId("faults");
  if (list.children.length === 0) {
    list.append(...Object.entries(FAULTS).map(([kind, label]) => {
      const item = make("li", {}, make("strong", { textContent: "0" }), make("span", { textContent: label }));
      item.dataset.kind = kind;
      return item;
    }));
  }
  for (const item of list.children) {
    const count = faults[item.dataset.kind] ?? 0;
    write(item.firstChild, number.format(count));
    item.classList.toggle("none", count === 0);
  }
}

function drawVerdict() {
  const show = (state, words, details) => {
    byId("verdict").dataset.state = state;
    write(byId("verdict-words"), words);
    write(byId("verdict-details"), details);
  };
  const seen = number.format(places.size);
  if (damaged.size > 0) {
    const named = [...damaged.values()].slice(0, DAMAGED_NAMED_MAX).join(", ");
    const more = damaged.size > DAMAGED_NAMED_MAX ? " and more" : "";
    show("wrong", "Damage: orders were charged or shipped more than once.",
      `${number.format(damaged.size)} of ${seen} seen here: ${named}${more}.`);
  } else if (places.size > 0) {
    show("good", "No order charged or shipped twice.", `${seen} seen here.`);
  } else {
    show("quiet", "No order yet.", "");
  }
}

// ---- Connection -----------------------------------------------------------------------------

function showConnection(state, words) {
  const connection = byId("connection");
  connection.dataset.state = state;
  write(connection, words);
}

/** Connects, and again whenever the connection breaks; the browser's own retry is not enough, since
 *  it gives up for good when the shop answers with an error while it restarts. */
function connect(failures = 0) {
  const source = new EventSource("/api/live");
  const on = (name, take) => source.addEventListener(name, (event) => {
    if (isStale) startAnew();
    take(JSON.parse(event.data));
    drawSoon();
  });
  let failed = failures;
  source.addEventListener("open", () => {
    failed = 0;
    isStale = places.size > 0;
    showConnection("good", "Connected");
  });
  on("order", takeOrder);
  on("totals", (sent) => { totals = sent; });
  on("faults", (sent) => { faults = sent; });
  source.addEventListener("error", () => {
    source.close();
    const pause = RECONNECT_MS[Math.min(failed, RECONNECT_MS.length - 1)];
    showConnection("wrong", `Connection lost; trying again in ${pause / 1000} s`);
    setTimeout(() => {
      showConnection("waiting", "Connecting again …");
      connect(failed + 1);
    }, pause);
  });
}

draw();
connect();
