// What may be done from the page. Each is confirmed first: what moves, and how it is undone.

import { h, mark } from './dom.js';
import { store, get, post } from './store.js';

/** Whether this viewer may change anything. */
export const may = () => Boolean(store.sidecar?.roles?.includes('operate'));

const TIMES = [['', 'until it is taken back'], ['3600000', '1 h'], ['7200000', '2 h'], ['28800000', '8 h'], ['86400000', '24 h']];

const WORDS = {
  drain: { verb: 'Drain', undo: (id) => `Taken back with “Undrain ${id}” here, or in a terminal with --undo.`, command: (id) => `tradewind drain ${id} --why TEXT`, asks: true, lasts: true },
  undrain: { verb: 'Undrain', undo: (id) => `Taken back with “Drain ${id}”.`, command: (id) => `tradewind drain ${id} --undo --why TEXT` },
  reset_breaker: { verb: 'Reset the breaker of', undo: () => 'There is no undo: if the node still fails, the breaker opens again by itself.', command: (id) => `tradewind reset-breaker ${id}` },
  pause: { verb: 'Pause', undo: () => 'Taken back with “Resume”.', command: () => 'tradewind rollout pause --why TEXT', asks: true },
  resume: { verb: 'Resume', undo: () => 'Taken back with “Pause”.', command: () => 'tradewind rollout resume --why TEXT', asks: true },
  promote: { verb: 'Promote', undo: () => 'Taken back with “Abort”, as long as the last stage has not passed.', command: () => 'tradewind rollout promote --why TEXT', asks: true },
  abort: { verb: 'Abort', undo: () => 'There is no undo: the rollout is to be started anew.', command: () => 'tradewind rollout abort --why TEXT', asks: true },
};

/** A button for something that may be done; disabled, with the reason and the terminal command, where the role is missing. */
export function act(what, subject, done, label) {
  const words = WORDS[what];
  const id = subject.node || subject.site || 'the rollout';
  const name = label || `${words.verb} ${id}`;
  if (!may()) return h('button', { type: 'button', disabled: true, 'aria-describedby': 'why-not', title: `Needs the role operate. In a terminal: ${words.command(subject.site ? `--site ${id}` : id)}` }, name);
  return h('button', { type: 'button', 'data-key': `${what} ${id}`, onclick: () => confirm(what, subject, name, done) }, name);
}

/** What would move, in the server's words. */
async function impact(what, { node, site }) {
  if (node || site) return (await get(`/debug/impact?${node ? 'node' : 'site'}=${encodeURIComponent(node || site)}`)).words;
  const status = await get('/debug/rollouts');
  const percent = status.rollout?.percent;
  if (percent == null) return 'No rollout is under way.';
  return { abort: `${percent} % of keys go back to the revision in force.`, promote: 'All keys get the new revision, whatever its guards say.',
    pause: `It stays at ${percent} % of keys until it is resumed.`, resume: `It goes on from ${percent} % of keys.` }[what];
}

function confirm(what, subject, name, done) {
  const words = WORDS[what];
  const id = subject.node || subject.site || 'the rollout';
  const moves = h('p', {}, '…');
  const reason = h('input', { name: 'reason', required: true, maxlength: 256, autocomplete: 'off' });
  const lasts = h('select', { name: 'for' }, TIMES.map(([value, text]) => h('option', { value }, text)));
  const fault = h('p', { class: 'fault', role: 'alert' });
  const doIt = h('button', { class: 'first', type: 'submit' }, name);
  const cancel = h('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel');
  const form = h('form', { class: 'confirm' }, h('h2', { id: 'confirm-head' }, `${name}?`), moves, h('p', { class: 'note' }, words.undo(id)),
    words.asks && h('label', { class: 'field' }, h('span', {}, 'Reason, which is kept'), reason), words.lasts && h('label', { class: 'field' }, h('span', {}, 'How long'), lasts), fault,
    h('div', { class: 'doings' }, doIt, cancel));
  const dialog = h('dialog', { 'aria-labelledby': 'confirm-head' }, form);
  // Whoever was on the button before gets back to it, though the region may have been made anew meanwhile.
  dialog.addEventListener('close', () => {
    dialog.remove();
    document.querySelector(`[data-key="${CSS.escape(`${what} ${id}`)}"]`)?.focus();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    doIt.disabled = true;
    fault.textContent = '';
    const { node, site } = subject;
    const isRollout = !node && !site;
    const body = { ...(node ? { node } : {}), ...(site ? { site } : {}), ...(isRollout ? { action: what } : {}), ...(words.asks ? { reason: reason.value } : {}),
      ...(words.lasts && lasts.value ? { for_ms: Number(lasts.value) } : {}) };
    try {
      const told = await post(`/debug/actions/${isRollout ? 'rollout' : what}`, body, store.overview?.revision);
      form.replaceChildren(h('h2', { id: 'confirm-head' }, mark('well'), ' Done.'), h('p', {}, told.done), told.undo && h('p', { class: 'note' }, 'Undo: ', told.undo),
        h('div', { class: 'doings' }, h('button', { type: 'button', autofocus: true, onclick: () => dialog.close() }, 'Close')));
      form.querySelector('button').focus();
      done?.();
    } catch (error) {
      fault.textContent = error.status === 412 ? `${error.message}. What you saw is of an earlier revision: look again, then repeat it.` : error.message;
      doIt.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  impact(what, subject).then((text) => { moves.textContent = text; }, (error) => { moves.textContent = `What moves is not known: ${error.message}`; });
}
