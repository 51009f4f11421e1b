// How a prediction differs from a label, on the level of calls and arguments, as ToolMatch
// compares them (looptool/calling/match.py): the order of calls is free. Arguments come as JSON texts by
// path that are equal where the values are (dataloop/reporting/page/samples.py).

const sameCall = (a, b) => a.name === b.name
  && Object.keys(a.arguments).length === Object.keys(b.arguments).length
  && Object.entries(a.arguments).every(([path, value]) => b.arguments[path] === value);

/** Pairs of [call of the label, call of the prediction]: equal ones first, then those of one name,
 * then what is left in order; null where a side has none. In the label's order. */
function pairCalls(label, prediction) {
  const rest = [...prediction];
  const partners = new Map();
  for (const fits of [sameCall, (a, b) => a.name === b.name, () => true]) {
    for (const call of label.filter(each => !partners.has(each))) {
      const index = rest.findIndex(candidate => fits(call, candidate));
      if (index >= 0) partners.set(call, rest.splice(index, 1)[0]);
    }
  }
  return [...label.map(call => [call, partners.get(call) ?? null]),
    ...rest.map(call => [null, call])];
}

function mark(left, right) {
  if (left === undefined) return "added";
  if (right === undefined) return "removed";
  return left === right ? "same" : "changed";
}

/** Rows of {kind, path, left, right, mark}: for each pair of calls its name, then each argument;
 * first of all the text, where there is one. Texts beside a call do not count for a match. */
function differences(label, prediction) {
  const rows = [];
  const add = (kind, path, left, right) =>
    rows.push({ kind, path, left, right, mark: mark(left, right) });
  if (label.content || prediction.content) {
    add("text", "text", label.content || undefined, prediction.content || undefined);
  }
  for (const [left, right] of pairCalls(label.calls ?? [], prediction.calls ?? [])) {
    add("name", "call", left?.name, right?.name);
    const paths = new Set([left, right].flatMap(call => Object.keys(call?.arguments ?? {})));
    for (const path of paths) add("argument", path, left?.arguments[path], right?.arguments[path]);
  }
  return rows;
}

/** Both texts as [before, what differs, after], split where they begin and cease to differ. */
function splitChange(left, right) {
  const most = Math.min(left.length, right.length);
  let start = 0, end = 0;
  while (start < most && left[start] === right[start]) start++;
  while (end < most - start && left.at(-1 - end) === right.at(-1 - end)) end++;
  return [left, right].map(text => [text.slice(0, start), text.slice(start, text.length - end),
    text.slice(text.length - end)]);
}
