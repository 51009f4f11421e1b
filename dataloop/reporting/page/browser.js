// The browser of samples: reads the packed samples, filters them, and shows one. What is chosen
// stands behind the # of the address, so that back, forward and a copied link work as in any page.

const PAGE_SIZE = 50;
const FACETS = {
  round: ["Dataset", row => [`D${row.round}`]],
  origin: ["Origin", row => [ORIGINS[row.origin]]],
  reason: ["Prediction", row => row.reason === undefined ? ["not probed"]
    : row.reason === "match" ? ["match"] : ["any mismatch", row.reason]],
  verdict: ["Verdict", row => [row.verdict ?? "none", ...(row.change ? ["label replaced"] : [])]],
};
const TRUTH_FACETS = {
  label: ["Label, SIMULATED", row => [truthName(row.label_right)]],
  prediction: ["Pred., SIMULATED", row => [truthName(row.prediction_right)]],
};
const truthName = right => right === undefined ? "truth unknown" : right ? "right" : "wrong";

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** The run's rows with numbers replaced by what they stand for, and the ways between samples. */
class Run {
  constructor(data) {
    this.simulated = data.simulated;
    this.messages = data.messages;
    const toolsets = data.toolsets.map(places => places.map(place => data.tools[place]));
    for (const sample of data.samples) {
      sample.places = [...sample.messages, sample.label];
      sample.messages = sample.messages.map(place => data.messages[place]);
      sample.label = data.messages[sample.label];
      sample.tools = toolsets[sample.tools];
    }
    this.samples = new Map(data.samples.map(sample => [sample.id, sample]));
    this.rowsOf = new Map();
    this.changeTo = new Map();
    for (const change of data.changes) {  // the first one: a label may come and go, and come again
      if (!this.changeTo.has(change.new_id)) this.changeTo.set(change.new_id, change);
    }
    const changes = new Map(data.changes.map(each => [`${each.round} ${each.old_id}`, each]));
    this.rows = data.rows.map(row => {
      const sample = data.samples[row.sample];
      const whole = { faults: [], votes: [], ...row, sample, predicted: row.prediction,
        prediction: data.messages[row.prediction],
        change: changes.get(`${row.round} ${sample.id}`) };
      listed(this.rowsOf, sample.id).push(whole);
      return whole;
    });
    this.children = new Map();
    for (const id of new Set([...this.samples.keys(), ...this.changeTo.keys()])) {
      const parent = this.parentOf(id);
      if (parent) listed(this.children, parent).push(id);
    }
  }

  /** The id of the sample that this one was made from; undefined for seed data. Where a sample with
   * a new label found no room in any dataset, label_changes.jsonl knows. */
  parentOf(id) {
    return this.samples.has(id) ? this.samples.get(id).parent : this.changeTo.get(id)?.old_id;
  }

  madeFrom(id) { return this.children.get(id) ?? []; }

  /** How a sample came to be, in words. */
  madeBy(id) {
    const sample = this.samples.get(id), change = this.changeTo.get(id);
    const parent = this.parentOf(id);
    if (!parent) return sample ? `seed, from ${sample.source || "an unnamed source"}` : "sample";
    if (change?.old_id === parent) return `round ${change.round}, label replaced`;
    return `round ${sample.made}, expanded by ${sample.source || "an unnamed scenario"}`;
  }

  link(row) {
    const chosen = new URLSearchParams(location.hash.slice(1));
    chosen.set("sample", `${row.round}-${row.sample.id}`);
    return `#${chosen}`;
  }

  /** The row that the address names. */
  chosen(parameters) {
    const [, round, id] = /^(\d+)-(.*)$/.exec(parameters.get("sample") ?? "") ?? [];
    return (this.rowsOf.get(id) ?? []).find(row => row.round === Number(round));
  }

  /** Whether a row holds a text, as a function; case does not matter. */
  finder(query) {
    const wanted = query.trim().toLowerCase();
    if (!wanted) return () => true;
    this.texts ??= this.messages.map(message => messageText(message).toLowerCase());
    const hits = this.texts.map(text => text.includes(wanted));
    return row => hits[row.predicted] || row.sample.places.some(place => hits[place])
      || row.sample.id.startsWith(wanted);
  }
}

function listed(map, key) {
  if (!map.has(key)) map.set(key, []);
  return map.get(key);
}

/** The rows that pass all filters, and for each facet how many rows each of its values would
 * give with the other filters as they are. */
function filterRows(run, facets, parameters) {
  const names = Object.keys(facets);
  const holds = run.finder(parameters.get("q") ?? "");
  const counts = Object.fromEntries(names.map(name => [name, new Map()]));
  const found = [];
  for (const row of run.rows) {
    const values = names.map(name => facets[name][1](row));
    const failed = names.filter((name, index) =>
      parameters.has(name) && !values[index].includes(parameters.get(name)));
    if (failed.length > 1 || !holds(row)) continue;
    if (!failed.length) found.push(row);
    names.forEach((name, index) => {
      if (failed.length && failed[0] !== name) return;
      for (const value of values[index]) {
        counts[name].set(value, (counts[name].get(value) ?? 0) + 1);
      }
    });
  }
  return { found, counts };
}

class Browser {
  constructor(root, run) {
    this.root = root;
    this.run = run;
    this.facets = run.simulated ? { ...FACETS, ...TRUTH_FACETS } : FACETS;
    this.part = name => root.querySelector(`.${name}`);
    this.query = this.part("filters").querySelector("input");
    this.selects = Object.entries(this.facets).map(([name, [label]]) => {
      const select = element("select", { name });
      this.part("filters").append(element("label", {}, label, select));
      return select;
    });
    this.part("filters").addEventListener("input", () => this.choose());
    this.part("filters").addEventListener("submit", event => event.preventDefault());
    // later, as the event comes before the fields are empty
    this.part("filters").addEventListener("reset", () => setTimeout(() => this.choose()));
    this.part("list").addEventListener("keydown", event => this.step(event));
    for (const [name, by] of [["earlier", -1], ["later", 1]]) {
      this.part(name).addEventListener("click", () => this.turn(by));
    }
    addEventListener("hashchange", () => this.show());
    this.show();
  }

  /** Filters as they stand in the form, written to the address. */
  choose() {
    const now = new URLSearchParams(location.hash.slice(1));
    const chosen = new URLSearchParams();
    for (const field of [this.query, ...this.selects]) {
      if (field.value) chosen.set(field.name, field.value);
    }
    if (now.has("sample")) chosen.set("sample", now.get("sample"));
    history.replaceState(null, "", `#${chosen}`);
    this.show();
  }

  turn(by) {
    const parameters = new URLSearchParams(location.hash.slice(1));
    parameters.set("page", this.page + by + 1);
    location.hash = parameters;
  }

  /** Arrow keys go along the list, and open what they reach. */
  step(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...this.part("list").querySelectorAll("a")];
    const next = links[links.indexOf(document.activeElement) + by];
    if (!by || !next) return;
    event.preventDefault();
    next.focus();
    next.click();
  }

  show() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    const row = this.run.chosen(parameters);
    const filters = new URLSearchParams(parameters);
    filters.delete("sample");
    if (`${filters}` !== this.shownFilters) {
      this.shownFilters = `${filters}`;
      this.showList(parameters);
    }
    if (row && row !== this.shownRow) this.showSample(row);
    this.shownRow = row;
    for (const link of this.root.querySelectorAll("a")) {
      if (link.row === row) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      link.href = this.run.link(link.row);  // keeps the filters as they are by now
    }
  }

  showSample(row) {
    const detail = this.part("detail");
    detail.replaceChildren(...sampleView(this.run, row));
    detail.scrollTop = 0;
    const isBeside = detail.offsetTop === this.part("found").offsetTop;
    if (!isBeside) detail.scrollIntoView();
  }

  showList(parameters) {
    const { found, counts } = filterRows(this.run, this.facets, parameters);
    if (this.query.value !== (parameters.get("q") ?? "")) this.query.value = parameters.get("q");
    for (const select of this.selects) {
      const chosen = parameters.get(select.name) ?? "";
      const values = [...counts[select.name].keys()].sort();
      // a choice that other filters leave nothing of must stay to be seen
      if (chosen && !values.includes(chosen)) values.push(chosen);
      select.replaceChildren(element("option", { value: "" }, "all"), ...values.map(value =>
        element("option", { value },
          `${value} (${(counts[select.name].get(value) ?? 0).toLocaleString("en")})`)));
      select.value = chosen;
    }
    const pages = Math.max(1, Math.ceil(found.length / PAGE_SIZE));
    this.page = Math.min(Math.max(1, Number(parameters.get("page")) || 1), pages) - 1;
    const first = this.page * PAGE_SIZE;
    const shown = found.slice(first, first + PAGE_SIZE);
    this.part("count").textContent = shown.length
      ? `${first + 1} to ${first + shown.length} of ${found.length.toLocaleString("en")}`
      : "No sample passes these filters.";
    this.part("earlier").disabled = !this.page;
    this.part("later").disabled = this.page + 1 >= pages;
    this.part("list").replaceChildren(...shown.map(row => this.listed(row)));
  }

  listed(row) {
    const said = row.sample.messages.findLast(message => message.role === "user");
    const link = rowLink(row,
      element("span", { class: "badge" }, [`D${row.round} ${ORIGINS[row.origin]}`, row.reason,
        row.verdict].filter(Boolean).join(" · ")),
      (said?.content ?? "").slice(0, 160));
    return element("li", {}, link);
  }
}

addEventListener("DOMContentLoaded", async () => {
  const root = document.querySelector(".browser");
  const data = await unpack(document.getElementById("samples").textContent);
  root.browser = new Browser(root, new Run(data));
  root.hidden = false;
  document.querySelector(".waiting").remove();
});
