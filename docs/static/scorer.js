// How results of the search are ordered: a page whose title is what was looked for comes first, then pages whose titles
// have all of its words, then sections of that title. The numbers below are Sphinx's own.
const words = (text) =>
  text
    .toLowerCase()
    .split(/[^\p{L}\p{N}_.]+/u)
    .filter((word) => word)
    .map((word) => word.replace(/(?<=...)s$/, ""));

var Scorer = {
  score: ([docName, title, anchor, , score]) => {
    const typed = words(new URLSearchParams(window.location.search).get("q") ?? "");
    const asked = typed.length > 1 ? typed.filter((word) => word !== "transgan") : typed;
    const page = words(title.split(" > ")[0]);
    const last = words(title.split(" > ").pop());
    const same = last.join(" ") === asked.join(" ");
    if (same && !anchor) score += 100;
    else if (!anchor && asked.length && asked.every((word) => page.includes(word))) score += 50 + 10 / page.length;
    else if (same) score += 30;
    if (same && docName.startsWith("reference/")) score += 15; // a name of the API, or a command
    if (docName.startsWith("howto/") || docName.startsWith("tutorial/")) score += 3;
    if (docName === "results" || docName === "gallery") score -= 10; // they have every word
    return score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
