// 16: GET changes nothing; POST needs this origin, this host, the revision, and the role.

import { assert } from '../lib.mjs';

export default async function doors(walk) {
  const { revision } = await walk.json('/debug/overview');
  const state = await walk.json('/debug/state');
  const node = state.nodes.id[0];
  const body = JSON.stringify({ node, reason: 'walk' });
  const match = { 'if-match': `"${revision}"`, 'content-type': 'application/json' };
  const marks = async () => JSON.stringify((await walk.json(`/debug/nodes?site=${encodeURIComponent(state.sites.id[state.nodes.site[0]])}`)).nodes.map((one) => [one.id, one.state, one.override]));
  const before = await marks();
  const refused = (what, method, path, headers) => walk.check(what, async () => {
    const { status } = await walk.raw(method, path, headers, method === 'GET' ? '' : body);
    assert(status >= 400 && status < 500, `answered ${status}`);
    assert(await marks() === before, 'the fleet changed');
  });
  for (const action of ['drain', 'undrain', 'reset_breaker', 'rollout']) await refused(`GET ${action} is refused`, 'GET', `/debug/actions/${action}?node=${node}`, {});
  await refused('POST of another origin is refused', 'POST', '/debug/actions/drain', { ...match, origin: 'http://elsewhere.example' });
  await refused('POST of another site is refused', 'POST', '/debug/actions/drain', { ...match, 'sec-fetch-site': 'cross-site' });
  await refused('POST to another host name is refused', 'POST', '/debug/actions/drain', { ...match, host: 'elsewhere.example' });
  await refused('POST without the revision is refused', 'POST', '/debug/actions/drain', { 'content-type': 'application/json' });
  await refused('POST of another revision is refused', 'POST', '/debug/actions/drain', { ...match, 'if-match': '"999999"' });
  await refused('a plan of another origin is refused', 'POST', '/debug/plan', { 'content-type': 'text/yaml', origin: 'http://elsewhere.example' });
  await walk.check('looking changes nothing', async () => {
    const page = await walk.page('/policy');
    for (const path of ['/', '/map', '/live']) await walk.visit(page, path);
    await page.done();
    assert((await walk.json('/debug/overview')).revision === revision, 'the revision went on');
    assert(await marks() === before, 'the fleet changed');
  });
}
