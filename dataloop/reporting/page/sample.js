// One sample as the page shows it. Whatever a model wrote becomes text by element(): no string of
// the run is ever read as HTML.

/** An element; null children are left out, strings become text. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat(Infinity).filter(child => child !== null));
  return made;
}

const ORIGINS = { seed: "seed", error_seed: "error seed", expanded: "expanded",
  high_ppl: "high perplexity" };
const SIGNS = { same: "=", changed: "≠", added: "+", removed: "−" };
const LAST_MESSAGES = 4;

const truthMark = right => right === undefined ? null
  : element("span", { class: right ? "right" : "wrong" }, right ? "✓ right" : "✗ wrong");

/** A link to a row; the browser fills in the address. */
function rowLink(row, ...children) {
  const link = element("a", {}, ...children);
  link.row = row;
  return link;
}

const folded = (summary, ...children) =>
  element("details", {}, element("summary", {}, summary), ...children);

const callText = call => `${call.name}(${Object.entries(call.arguments)
  .map(([path, value]) => `${path}=${value}`).join(", ")})`;

const messageText = message =>
  [message.content, ...(message.calls ?? []).map(callText)].filter(Boolean).join("\n") || "(empty)";

/** The whole of a row. */
function sampleView(run, row) {
  return [
    element("h3", { tabindex: "-1" }, `D${row.round} · ${ORIGINS[row.origin]} · `,
      element("code", {}, row.sample.id)),
    element("p", { class: "soft" }, facts(row).join(" · ")),
    comparison(run, row),
    row.text ? folded("Reply as it came", element("pre", {}, row.text)) : null,
    conversation(row.sample),
    row.votes.length ? votes(row) : null,
    lineage(run, row),
    toolList(row.sample),
  ].filter(part => part !== null);
}

function facts(row) {
  const probed = row.reason === undefined ? ["not probed"]
    : [row.reason === "match" ? "prediction equal to the label" : `mismatch: ${row.reason}`,
      `perplexity ${row.perplexity}`];
  if (row.pass_rate !== undefined) probed.push(`pass rate ${row.pass_rate.toFixed(2)}`);
  if (row.faults.length) probed.push(`faults: ${row.faults.join(", ")}`);
  if (row.verdict) probed.push(`verdict ${row.verdict}`);
  if (row.change) probed.push(row.change.undone ? "replacement undone" : "label replaced");
  return probed;
}

function comparison(run, row) {
  const head = (name, right) => element("th", { scope: "col" }, name, " ", truthMark(right));
  const title = run.simulated ? "Answers, right or wrong by the SIMULATED truth" : "Answers";
  const body = differences(row.sample.label, row.prediction ?? { content: "", calls: [] })
    .map(line => row.prediction ? differenceRow(line) : element("tr", { class: line.kind },
      element("th", { scope: "row" }, line.path), element("td", {}, line.left)));
  return element("table", { class: "comparison" }, element("caption", {}, title),
    element("thead", {}, element("tr", {}, element("td", {}), head("label", row.label_right),
      row.prediction ? [head("prediction", row.prediction_right),
        element("th", { scope: "col" }, "change")] : [])),
    element("tbody", {}, body));
}

function differenceRow({ kind, path, left, right, mark }) {
  const parts = mark === "changed" ? splitChange(left, right) : [[left ?? ""], [right ?? ""]];
  const cells = parts.map(([before, differs, after]) => element("td", {}, before,
    differs ? element("mark", {}, differs) : null, after ?? null));
  return element("tr", { class: `${kind} ${mark}` }, element("th", { scope: "row" }, path), cells,
    element("td", { class: "sign" }, element("span", { "aria-hidden": "true" }, SIGNS[mark]),
      ` ${mark}`));
}

function conversation(sample) {
  const turns = sample.messages.map(message => element("div", { class: "turn" },
    element("div", { class: "soft" }, message.role), element("pre", {}, messageText(message))));
  // of fewer than LAST_MESSAGES none: splice takes a negative number for 0
  const earlier = turns.splice(0, turns.length - LAST_MESSAGES);
  return element("section", {}, element("h4", {}, "Conversation"),
    earlier.length ? folded(`${earlier.length} earlier messages`, ...earlier) : null, turns);
}

function votes(row) {
  return element("section", {}, element("h4", {}, `Votes: ${row.votes.length}`),
    row.votes.map(vote => folded(
      `${vote.verdict} (${vote.judge}, ${vote.label_first ? "label" : "prediction"} shown first)`,
      element("pre", {}, [vote.analysis, vote.approach].filter(Boolean).join("\n\n")))));
}

function toolList(sample) {
  return folded(`Tools: ${sample.tools.length}`, ...sample.tools.map(tool => folded(tool.name,
    element("p", {}, tool.description ?? ""),
    element("pre", {}, JSON.stringify(tool.parameters, null, 2)))));
}

/** From the seed over each parent to this sample, then all that was made of it. */
function lineage(run, row) {
  let tree = family(run, row.sample.id);
  for (let id = run.parentOf(row.sample.id); id; id = run.parentOf(id)) {
    tree = element("li", {}, place(run, id), element("ul", {}, tree));
  }
  return element("section", { class: "lineage" }, element("h4", {}, "Lineage"),
    element("ul", {}, tree));
}

function family(run, id) {
  const children = run.madeFrom(id).map(child => family(run, child));
  return element("li", {}, place(run, id), children.length ? element("ul", {}, children) : null);
}

/** A sample in the lineage: how it was made, and a link for each dataset that has it. */
function place(run, id) {
  const links = (run.rowsOf.get(id) ?? []).map(row => rowLink(row,
    [`D${row.round} ${ORIGINS[row.origin]}`, row.verdict].filter(Boolean).join(", ")));
  return [`${run.madeBy(id)}: `, element("code", {}, id), " ",
    links.length ? links.flatMap(link => [" ", link]) : "in no dataset of this page"];
}
