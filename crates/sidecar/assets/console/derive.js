// What the page makes of the answers itself: joining events to flags, and the order of things. Pure.

const RANK = { bad: 0, warn: 1, tried: 2, unknown: 3, drained: 4, well: 5 };

/** Worst first. */
export const worse = (a, b) => (RANK[a] ?? 3) - (RANK[b] ?? 3);

// Kinds that say what was done or went wrong; the others (a site's terms, a trial) would bury them.
const FLAGGED = new Set(['revision', 'refused', 'topology', 'geo', 'override', 'breaker', 'probe', 'isolated', 'rollout', 'condition', 'overload', 'readmission']);
const JOIN_MS = 600000;
// Failures of so many nodes of a site within so short a time are one thing that happened to the site.
const SITE_NODES = 3;
const SITE_MS = 30000;

/**
 * Flags of the log out of events: of one subject within ten minutes only the first; of several nodes of one site at
 * once the site. What became well again has no flag: the tracks show it.
 */
export function flags(events, from) {
  const made = [];
  for (const event of events) {
    if (event.at_unix_ms < from || !FLAGGED.has(event.kind)) continue;
    if (event.mark === 'well' || event.mark === 'tried') continue;
    const subject = event.node || event.site || event.kind;
    const before = event.mark !== 'flag' && made.findLast((flag) => flag.subjects.has(subject) && event.at_unix_ms - flag.last < JOIN_MS);
    const title = event.title || event.words || event.kind;
    if (before) {
      before.last = event.at_unix_ms;
      before.times += 1;
      continue;
    }
    const ofSite = event.node && event.mark === 'bad' && made.findLast((flag) =>
      flag.site === event.site && flag.mark === 'bad' && flag.isNode && event.at_unix_ms - flag.at < SITE_MS);
    if (ofSite) {
      ofSite.subjects.add(subject);
      ofSite.last = event.at_unix_ms;
      ofSite.extra.push(event);
      continue;
    }
    made.push({ at: event.at_unix_ms, last: event.at_unix_ms, mark: event.mark, title, words: event.words, site: event.site, node: event.node,
      isNode: Boolean(event.node), revision: event.kind === 'revision' ? event.revision : undefined, subjects: new Set([subject]), times: 1, extra: [] });
  }
  return made.map((flag) => {
    const nodes = flag.subjects.size;
    const isSite = flag.isNode && nodes >= SITE_NODES;
    const title = isSite ? `${flag.site} out, ${nodes} nodes` : nodes > 1 ? `${flag.title} and ${nodes - 1} more` : flag.title;
    const short = flag.revision ? `r${flag.revision}` : isSite ? flag.site : flag.node || title.replace(/^file /, '');
    return { ...flag, title, short };
  });
}

/** The middle of those values that are known. */
export function median(values) {
  const known = values.filter((value) => value != null).sort((a, b) => a - b);
  return known.length ? known[known.length >> 1] : undefined;
}

/** The last value that is known. */
export const last = (values) => values?.findLast((value) => value != null);

/** A bound of an axis a little above `most`: 1, 1.5, 2, 3, 5, 7.5, 10 of a power of ten. */
export function bound(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.5, 2, 3, 5, 7.5, 10].find((step) => step * power >= most * 1.05) * power || 10 * power;
}
