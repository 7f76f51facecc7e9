// One way of writing for each kind of number. Pure; what is not told is "not told", never 0.

/** A space that keeps a number and its unit in one line. */
export const NB = '\u00a0';
export const NOT_TOLD = 'not told';

const known = (value) => typeof value === 'number' && Number.isFinite(value);
const or = (write) => (value, ...more) => (known(value) ? write(value, ...more) : NOT_TOLD);

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
/** 3001 -> 3,001 */
export const count = or((value) => grouped.format(value));
/** 1, 'node' -> 1 node */
export const counted = (value, one, many = `${one}s`) => `${count(value)}${NB}${value === 1 ? one : many}`;

/** Digits of milliseconds, without the unit: 0.25, 34.8, 106, 4,500. */
export const ms0 = or((value) => {
  const size = Math.abs(value);
  if (size < 0.005) return '0';
  return size < 0.995 ? value.toFixed(2) : size < 99.95 ? value.toFixed(1) : grouped.format(value);
});
/** 0.25 ms, 34.8 ms, 106 ms, 12.3 s */
export const ms = or((value) => (Math.abs(value) >= 9999.5 ? `${(value / 1000).toFixed(1)}${NB}s` : `${ms0(value)}${NB}ms`));
/** A length of time that somebody wrote, as it was written: 5 ms, 1.5 s, 10 min. */
export const span = or((value) => (value >= 60000 && value % 6000 === 0 ? `${value / 60000}${NB}min` : value >= 1000 && value % 100 === 0 ? `${value / 1000}${NB}s` : `${Number(value.toPrecision(4))}${NB}ms`));
/** 1.4 µs */
export const us = or((value) => (value >= 999.5 ? ms(value / 1000) : `${value < 9.95 ? value.toFixed(1) : grouped.format(value)}${NB}µs`));

/** 0.082 -> 8.2 %, 0.19 -> 19 %, 0.0008 -> 0.08 % */
export const share = or((ratio) => {
  const value = ratio * 100;
  const size = Math.abs(value);
  const digits = size < 0.005 || size >= 9.95 ? 0 : size < 0.095 ? 2 : 1;
  return `${value.toFixed(digits).replace(/^-(0(\.0+)?)$/, '$1')}${NB}%`;
});
/** A share that somebody set, as it was set: 5 %, 12.5 %. */
export const percent = or((value) => `${Number(value.toPrecision(4))}${NB}%`);
/** 0.6 /s, 744 /s, 1,200 /s */
export const rate = or((value) => `${value < 9.95 ? value.toFixed(value < 0.095 && value > 0.005 ? 2 : 1) : grouped.format(value)}${NB}/s`);
/** × 1.72, × 20 */
export const times = or((value) => `×${NB}${value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : grouped.format(value)}`);
/** 0.02 USD/GB */
export const price = or((value) => `${Number(value.toFixed(3))}${NB}USD/GB`);
/** 1,006 km */
export const km = or((value) => `${grouped.format(value)}${NB}km`);

/** How long: 40 s, 10 min (from 90 s), 2 h (from 90 min), 3 d (from 2 days). */
export const since = or((duration) => {
  const seconds = Math.max(0, duration) / 1000;
  if (seconds < 90) return `${Math.floor(seconds)}${NB}s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)}${NB}min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)}${NB}h` : `${count(Math.round(seconds / 86400))}${NB}d`;
});

const two = (value) => String(value).padStart(2, '0');
const clock = (t, withSeconds) => {
  const at = new Date(t);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}${withSeconds ? `:${two(at.getUTCSeconds())}` : ''}`;
};
/** 22:24:59, of UTC */
export const time = or((t) => clock(t, true));
/** 22:24 */
export const minute = or((t) => clock(t, false));
/** 2026-11-27 22:24:59 UTC, for titles. */
export const date = or((t) => `${new Date(t).toISOString().slice(0, 19).replace('T', ' ')} UTC`);

/** The first eight digits of a digest. */
export const digest = (text) => (text || '').slice(0, 8);

/** "a, b and 3 more" */
export function list(names, most = 4) {
  const shown = names.slice(0, most);
  const more = names.length - shown.length;
  if (more > 0) return `${shown.join(', ')} and ${more} more`;
  return shown.length > 1 ? `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}` : shown.join('');
}

/** The milliseconds of a duration as protobuf writes it: "3s", "0.800s". */
export const duration = (text) => (typeof text === 'string' && /^-?[\d.]+s$/.test(text) ? parseFloat(text) * 1000 : undefined);
