"""Whole lists, from docs/hashing.md alone: what check.py compares lists.json with. Numbers are sections of that page."""

import ipaddress
import math
from fractions import Fraction

from arithmetic import M64, from_bits, key_hash, node_seed, race, single, to_bits, xxh3_64

MAX_SCOPE, MAX_COPIES, MAX_RANKED, HALF_OPEN_SLICE = 8, 24, 32, 16_384
ABSENT = b"\xff"


# --- 6. Parts of a key


def parameter(query, name):
    for piece in query.split("&"):
        given, _, value = piece.partition("=")
        if given == name:
            return value.encode()
    return ABSENT


def header(request, name):
    for given, value in request.get("headers", []):
        if given.lower() == name.lower():
            return value.encode()
    return ABSENT


def object_key(request, recipe):
    if "key" in request:
        return key_hash([request["key"].encode()])
    query = request.get("query", "")
    parts = [request["host"].encode() if recipe.get("host", True) else b""]
    if recipe.get("path", True):
        parts.append(request["path"].encode())
    if recipe.get("query") == ["*"]:
        parts.append(query.encode())
    else:
        parts += [parameter(query, name) for name in recipe.get("query", [])]
    parts += [header(request, name) for name in recipe.get("headers", [])]
    return key_hash(parts)


def address(request):
    found = ipaddress.ip_address(request["ip"])
    return (getattr(found, "ipv4_mapped", None) or found).packed


def client_key(request, recipe, cell):
    if "ip" in request:
        return key_hash([address(request)])
    if cell is None:
        return object_key(request, recipe)
    return key_hash([cell.to_bytes(4, "little")])


def rotate_32(value):
    return (value << 32 | value >> 32) & M64


def request_key(request, recipe, cell):
    if "request_id" in request:
        return key_hash([request["request_id"].encode()])
    return object_key(request, recipe) ^ rotate_32(client_key(request, recipe, cell))


# --- 7. Cells and distances

HEIGHT, RADIANS = 180 / 228, math.pi / 180
A4, A3, A2, A1, A0 = map(from_bits, (0x3D9772A4, 0x3B10069D, 0x3D4D9DDD, 0x3D98DB34, 0x3E2AABA0))
HALF_PI, DIAMETER = from_bits(0x3FC90FDB), from_bits(0x46471812)


def columns_of(band):
    edges = band - 114 if band >= 114 else 113 - band
    return math.ceil(2 * math.pi * 6371.0088 * math.cos(edges * HEIGHT * RADIANS) / 87)


def cell_of(lat, lon):
    if lon >= 180 or abs(lat) == 90:
        lon = -180.0
    band = min(int((lat + 90) / HEIGHT), 227)
    columns = columns_of(band)
    return band * 65536 + min(int((lon + 180) / 360 * columns), columns - 1)


def centre_of(cell):
    band, column = divmod(cell, 65536)
    return -90 + (band + 0.5) * HEIGHT, -180 + (column + 0.5) / columns_of(band) * 360


def point(lat, lon):
    a, b = lat * RADIANS, lon * RADIANS
    return single(math.cos(a) * math.cos(b)), single(math.cos(a) * math.sin(b)), single(math.sin(a))


def root(value):
    """The square root of a single, rounded once: the double is right, unless it lies half way between two singles."""
    found = single(math.sqrt(value))
    low, high = from_bits(max(to_bits(found) - 1, 0)), from_bits(to_bits(found) + 1)
    exact = Fraction(value)
    return min((low, found, high), key=lambda near: abs(Fraction(near) ** 2 - exact))


def kilometres(client, site):
    x, y, z = (single(s - c) for c, s in zip(client, site))
    chord = single(single(single(x * x) + single(y * y)) + single(z * z))
    h = min(single(chord * 0.25), 1.0)
    rest = single(1.0 - h)
    q = h if h < rest else rest
    p = A4
    for a in (A3, A2, A1, A0):
        p = single(single(p * q) + a)
    r = root(q)
    half = single(r + single(r * single(q * p)))
    return single(DIAMETER * (single(HALF_PI - half) if h > 0.5 else half))


# --- 8. What a site costs a client


def total_ms(world, request, client, site):
    score, known = world.score, world.known_sites.get(site["id"], {})

    def number(term, field, default):
        return single(score.get(term, {}).get(field, default))

    network = 0.0
    if client is not None:
        away = kilometres(client, point(site["lat"], site["lon"]))
        network = single(number("network", "base_ms", 5) + single(number("network", "ms_per_km", 0.016) * away))
        network = single(network * number("network", "weight", 1))
    service = single(known.get("service_ms", 0))
    queue = single(known.get("queue_ms", 0))
    miss = single(single(single(1 - single(0.5)) * number("miss", "fetch_ms", 40)) * number("miss", "weight", 1))
    miss = single(known.get("miss_ms", miss))
    error = single(single(single(0.001) * single(250)) * number("error", "weight", 1))
    error = single(known.get("error_ms", error))
    bias = 0.0
    for one in score.get("bias", []):
        if one["site"] == site["id"]:
            bias = single(bias + single(one["ms"]))
    cost = score.get("cost", {})
    gb = single(single(request.get("size_bytes", 100_000)) * single(1e-9))
    price = single(single(site.get("price_usd_per_gb", 0)) * gb)
    price = single(price * single(cost.get("ms_per_usd", 0) * cost.get("weight", 0)))
    standing = single(single(single(single(service + queue) + miss) + error) + bias)
    return single(single(network + standing) + price)


# --- 9. The list


def milliseconds(text):
    return single(float(text.removesuffix("ms")))


class World:
    """A fleet, a policy with one rule, and what is known of nodes, sites and keys."""

    def __init__(self, topology, policy, known):
        self.sites = {site["id"]: site for site in topology["sites"]}
        self.nodes = {node["id"]: node for node in topology["nodes"]}
        self.last_tier = topology["tiers"][-1]
        self.rule = policy["rules"][0]
        self.score = policy.get("score", {})
        self.pools = {pool["name"]: pool for pool in policy["pools"]}
        self.spread = milliseconds(self.score.get("spread", "0ms"))
        detour = self.score.get("max_detour")
        self.detour = math.inf if detour is None else milliseconds(detour)
        self.known_nodes = known.get("nodes", {})
        self.known_sites = known.get("sites", {})
        self.readmission = known.get("readmission", {})
        self.hot = {(key_hash([part.encode() for part in one["key"]]), one["site"]): one["copies"] for one in known.get("hot", [])}

    def of(self, node):
        return self.known_nodes.get(node, {})

    def weight(self, node):
        return single(single(self.nodes[node].get("capacity", 100)) * single(self.of(node).get("weight", 1)))

    def tiers(self):
        return [Tier(self, self.pools[name]) for name in self.rule["pools"]]


class Tier:
    """A pool, by site: admitted nodes, recovering ones, and all that are not in maintenance."""

    def __init__(self, world, pool):
        self.world, self.affinity = world, pool.get("affinity", "key")
        tier = pool["select"]["tier"]
        self.is_origin = tier == world.last_tier
        step = world.readmission.get(pool["name"], "none")
        self.is_enough = step != "insufficient"
        self.sites = sorted(site for site in world.sites if world.sites[site]["tier"] == tier)
        self.members = [node for node in world.nodes if world.nodes[node]["site"] in self.sites]
        ready = [node for node in self.members if self.state(node) == "ready"]
        verdict = {node: world.of(node).get("verdict", "admitted") for node in ready}
        self.admitted = self.by_site(node for node in ready if verdict[node] == "admitted")
        self.slices = {node: world.of(node)["slice"] for node in ready if verdict[node] == "probing"}
        if step == "half_open":
            self.slices |= {node: HALF_OPEN_SLICE for node in ready if verdict[node] == "breaker_open"}
        self.recovering = self.by_site(self.slices)
        self.remaining = self.by_site(node for node in self.members if self.state(node) != "maintenance")

    def state(self, node):
        node = self.world.nodes[node]
        states = node.get("state", "ready"), self.world.sites[node["site"]].get("state", "ready")
        return max(states, key=("ready", "drain", "maintenance").index)

    def by_site(self, nodes):
        found = {}
        for node in nodes:
            found.setdefault(self.world.nodes[node]["site"], []).append(node)
        return found


def choose(tiers, mode):
    """The position of the chosen tier, and its admitted nodes by site."""
    usual = [(at, tier) for at, tier in enumerate(tiers) if at == 0 or not tier.is_origin]
    for at, tier in usual:
        if tier.is_enough and tier.admitted:
            return at, tier.admitted
    if mode == "all_ready":
        for at, tier in usual:
            if tier.remaining:
                return at, tier.remaining
    if mode != "refuse":
        for at, tier in enumerate(tiers):
            if tier.is_origin and (tier.admitted or tier.remaining):
                return at, tier.admitted or tier.remaining
    return None


def is_taken(full, place):
    return full < 255 and place >= full


class Answer:
    """One request, step by step."""

    def __init__(self, world, request, wanted):
        self.world, self.request, self.wanted = world, request, wanted
        self.child = request.get("child")
        tried = [self.child] * (self.child is not None) + request.get("tried", [])
        self.tried = [node for node in tried if node in world.nodes][:16]
        self.cell = cell_of(request["lat"], request["lon"]) if "lat" in request else None
        self.client = None if self.cell is None else point(*centre_of(self.cell))
        self.recipe = world.rule.get("key", {})
        self.totals, self.list, self.scope, self.key = {}, [], [], 0
        self.make()
        if "only" in request:
            self.restrict()

    def total(self, site):
        if site not in self.totals:
            self.totals[site] = total_ms(self.world, self.request, self.client, self.world.sites[site])
        return self.totals[site]

    def in_order(self, sites):
        """Sites with their admitted nodes, by total, or by race for a client of whom nothing is known; then by id."""
        return sorted(sites, key=lambda site: self.turn(site, sites[site]))

    def turn(self, site, nodes):
        if self.cell is None:
            return race(self.network_key(), node_seed(site), self.weight_of(nodes)), site.encode()
        return self.total(site), site.encode()

    def weight_of(self, nodes):
        weight = 0.0
        for node in sorted(nodes, key=str.encode):
            weight = single(weight + self.world.weight(node))
        return weight

    def network_key(self):
        if "ip" not in self.request:
            return object_key(self.request, self.recipe)
        packed = address(self.request)
        kept = 3 if len(packed) == 4 else 6
        return key_hash([packed[:kept] + bytes(len(packed) - kept)])

    def key_for(self, affinity):
        if affinity == "client":
            return client_key(self.request, self.recipe, self.cell)
        if affinity == "none":
            return request_key(self.request, self.recipe, self.cell)
        return object_key(self.request, self.recipe)

    def place(self, node, key):
        return race(key, node_seed(node), self.world.weight(node)), node.encode()

    def ranked(self, nodes, key):
        """By race, then id, those that were not tried."""
        return sorted((node for node in nodes if node not in self.tried), key=lambda node: self.place(node, key))

    def site_of(self, node):
        return self.world.nodes[node]["site"]

    def listed(self):
        return [node for node, _ in self.list]

    def parents(self, sites):
        """The scope for a node that asks for its parent: its site's parents, or else the first site."""
        parents = sorted(self.world.sites[self.site_of(self.child)].get("parents", []), key=str.encode)
        parents = [site for site in parents if site in sites][:MAX_SCOPE]
        return sorted(parents, key=lambda site: (self.total(site), site.encode())) or sites[:1]

    def make(self, nearer=None):
        tiers = self.world.tiers()
        if self.child is not None:
            own = [at for at, tier in enumerate(tiers) if self.child in tier.members]
            tiers = tiers[own[-1] + 1 if own else 0 :]
        found = choose(tiers, self.world.rule.get("panic", "all_ready"))
        if found is None:
            return
        at, nodes = found if nearer is None else (nearer, tiers[nearer].admitted)
        self.at, self.tiers, self.nodes = at, tiers, nodes
        tier = tiers[at]
        self.key = key = self.key_for(tier.affinity)
        later = [tier for tier in tiers[at + 1 :] if tier.admitted]
        sites = self.in_order(nodes)
        gives = self.child is None and len(sites) > 1 and self.gives_away(sites[0]) and self.takes(sites[1])
        first = sites[1 if gives else 0]
        bound = single(self.total(first) + self.world.spread)
        self.scope = [site for site in sites[gives:] if self.total(site) <= bound][: MAX_SCOPE - gives]
        if self.cell is None:
            self.scope = [first]
        if self.child is not None:
            self.scope = self.parents(self.in_order(nodes))
            first = self.scope[0]
            sites = self.scope + [site for site in self.in_order(nodes) if site not in self.scope]
        near = 1 + (self.wanted + 1) // 2 + len(self.tried)
        if self.child is not None or self.world.spread > 0 or len(self.scope) + gives >= near:
            near = MAX_SCOPE
        behind = [site for site in sites if site not in self.scope]
        bound, nearer = self.bound(at, nodes, first)
        if nearer is not None:
            return self.make(nearer)
        self.others = [site for site in behind if self.total(site) <= bound]
        looked_at = [site for site in sites[: min(near, MAX_SCOPE)] if site in self.others]
        order = self.ranked((node for site in self.scope for node in nodes[site]), key)
        order, role = self.lead(tier, order)
        firsts = [self.ranked(nodes[site], key)[:1] for site in looked_at]
        self.compose(order, role, [first[0] for first in firsts if first], later)
        self.probe_earlier()
        ends = self.go_down(later)
        self.lengthen(order, later, ends)

    def bound(self, at, nodes, best):
        """The bound on the detour in ms, and the later tier that stands in for one that is beyond it, if one does."""
        usual = single(self.total(best) + self.world.detour)
        tiers = self.tiers
        first = tiers[0]
        ready = first.by_site(node for node in first.members if first.state(node) == "ready")
        is_silent = any(site not in first.admitted for site in ready)
        is_last_resort = nodes is not tiers[at].admitted or (at > 0 and tiers[at].is_origin)
        if self.world.detour == math.inf or is_last_resort or not (at or is_silent):
            return usual, None
        sites = set(ready) | set(first.admitted)
        costs = [self.total(site) if site in first.admitted else self.assumed(site) for site in sites]
        bound = single(min(costs + [self.total(best)]) + self.world.detour)
        if self.total(best) <= bound:
            return bound, None
        for later in range(at + 1, len(tiers)):
            tier = tiers[later]
            if tier.is_enough and tier.admitted and not tier.is_origin:
                nearest = self.in_order(tier.admitted)[0]
                if self.total(nearest) <= bound:
                    return bound, later
        return usual, None

    def assumed(self, site):
        """What a site costs before anything is observed of it."""
        known, self.world.known_sites = self.world.known_sites, {}
        cost = total_ms(self.world, self.request, self.client, self.world.sites[site])
        self.world.known_sites = known
        return cost

    def takes(self, site):
        """Whether a site takes a client that the best one gives away."""
        known = self.world.known_sites.get(site, {})
        return not self.gives_away(site) and is_taken(known.get("full", 0), self.client_slice(site) >> 8 & 255)

    def compose(self, order, role, others, later):
        """Steps 1 to 5."""
        self.list = []
        share = self.wanted - min(len(later), max(self.wanted - (2 if self.wanted == 3 else 3), 0))
        roles = [role] + ["next_in_order"] * len(order)
        order = list(zip(order, roles))
        others = [(node, "next_site") for node in others]
        if order:
            self.list.append(order.pop(0))
            own = self.site_of(self.list[0][0])
        if self.list and share == 2 and (not order or self.site_of(order[0][0]) == own):
            second = self.elsewhere(own)
            if second:
                self.list.append((second, "next_in_order"))
            elif others:
                self.list.append(others.pop(0))
        while len(self.list) < share and (order or others):
            if order:
                self.list.append(order.pop(0))
            if others and len(self.list) < share:
                self.list.append(others.pop(0))
        if not self.list:
            self.list += [(node, "next_site") for node in self.beyond()[:1]]
        homes = {self.site_of(node) for node in self.listed()}
        if len(self.list) >= 2 and len(homes) == 1:
            (home,) = homes
            last = self.list.pop()
            second = self.elsewhere(home)
            beyond = [node for node in self.beyond() if self.site_of(node) != home] if self.tried else []
            if second:
                self.list.append((second, "next_in_order"))
            elif beyond:
                self.list.append((beyond[0], "next_site"))
            elif not (later and len(self.list) + 1 == self.wanted):
                self.list.append(last)

    def elsewhere(self, home):
        nodes = (node for site in self.scope if site != home for node in self.nodes[site])
        return next(iter(self.ranked(nodes, self.key)), None)

    def beyond(self):
        """What is neither tried nor listed outside the scope and in reach, best site first."""
        found = [node for site in self.others for node in self.ranked(self.nodes[site], self.key)]
        return [node for node in found if node not in self.listed()]

    def later_nodes(self, tier):
        """A later tier's nodes that are neither tried nor listed: its scope's, then those of its other sites."""
        key = self.key_for(tier.affinity)
        parents = self.world.sites[self.site_of(self.list[0][0])].get("parents", []) if self.list else []
        scope = [site for site in parents if site in tier.admitted]
        scope = scope or self.in_order(tier.admitted)[:1]
        nodes = self.ranked((node for site in scope for node in tier.admitted[site]), key)
        for site in self.in_order(tier.admitted):
            if site not in scope:
                nodes += self.ranked(tier.admitted[site], key)
        return [node for node in nodes if node not in self.listed()]

    def go_down(self, later):
        """Step 6. Gives where the entries of each tier end, the chosen one's first."""
        ends = [len(self.list)]
        for tier in later:
            if len(self.list) < self.wanted:
                role = "origin" if tier.is_origin else "next_tier"
                self.list += [(node, role) for node in self.later_nodes(tier)[:1]]
                ends.append(len(self.list))
        return ends

    def lengthen(self, order, later, ends):
        """Steps 7 and 8."""
        free = self.wanted - len(self.list)
        scope = self.ranked((node for site in self.scope for node in self.nodes[site]), self.key)
        more = [(node, "next_in_order") for node in scope if node not in self.listed()]
        more += [(node, "next_site") for node in self.beyond()]
        self.list[ends[0] : ends[0]] = more[:free]
        added = len(more[:free])
        for tier, end in zip(later, ends[1:]):
            free = self.wanted - len(self.list)
            role = "origin" if tier.is_origin else "next_tier"
            more = [(node, role) for node in self.later_nodes(tier)][:free]
            self.list[end + added : end + added] = more
            added += len(more)

    def restrict(self):
        only = set(self.request["only"])
        tier_of = {}
        for at, tier in reversed(list(enumerate(self.world.tiers()))):
            tier_of |= {node: (at, tier) for node in tier.members}
        self.list = [entry for entry in self.list if entry[0] in only]
        for may_be in (self.is_well, lambda tier, node: tier.state(node) != "maintenance"):
            others = [node for node in only if node in tier_of and may_be(tier_of[node][1], node)]
            others = [node for node in others if node not in self.tried and node not in self.listed()]

            def order(node):
                site, (at, tier) = self.site_of(node), tier_of[node]
                return at, self.turn(site, tier.admitted.get(site, [])), self.place(node, self.key)

            others.sort(key=order)
            for node in others[: max(self.wanted - len(self.list), 0)]:
                at, tier = tier_of[node]
                role = "next_in_order" if self.site_of(node) in self.scope else "next_site"
                if at > self.at:
                    role = "origin" if tier.is_origin else "next_tier"
                self.list.append((node, role))
            if self.list:
                return

    def is_well(self, tier, node):
        return tier.state(node) == "ready" and self.world.of(node).get("verdict", "admitted") == "admitted"

    # --- 10. Who is put first

    def gives_away(self, site):
        spill = self.world.known_sites.get(site, {}).get("spill", 0)
        return self.client_slice(site) & 255 < spill

    def client_slice(self, site):
        if self.cell is None:
            return xxh3_64(site.encode(), self.network_key())
        return key_hash([self.cell.to_bytes(4, "little"), site.encode()])

    def slice(self, key, node):
        return xxh3_64(node_seed(node).to_bytes(8, "little"), key) & 0xFFFF

    def lead(self, tier, order):
        """The key's order with one put first, and the role of the first."""
        found, role, is_hot = None, "owner", False
        if tier.affinity == "none":
            if len(order) > 1 and self.has_less_to_do(*order[:2]):
                found, role = order[1], "next_in_order"
        else:
            copies = min(self.world.hot.get((self.key, self.scope[0]), 1), MAX_COPIES)
            is_hot = copies > 1
            if is_hot:
                found = self.hot_copy(order[:copies])
                role = "hot_copy" if found else "owner"
            elif len(order) > 1:
                spill = self.world.of(order[0]).get("spill", 0)
                full = self.world.of(order[1]).get("full", 0)
                has_room = is_taken(full, self.slice(self.key, order[1]) & 255)
                if self.slice(self.key, order[0]) >> 8 < spill and has_room:
                    found, role = order[1], "next_in_order"
        if not is_hot and self.nodes is tier.admitted:
            probe = self.probe(tier, order)
            if probe:
                found, role = probe, "probe"
        if found:
            order = [found] + [node for node in order if node != found]
        return order, role

    def has_less_to_do(self, first, second):
        a, b = self.world.of(first), self.world.of(second)
        busy = a.get("busy", False), b.get("busy", False)
        if all(busy):
            return b.get("in_flight", 0) < a.get("in_flight", 0)
        return busy[0] if any(busy) else b.get("latency_ms", 0) < a.get("latency_ms", 0)

    def hot_copy(self, copies):
        t = request_key(self.request, self.recipe, self.cell) ^ rotate_32(self.key)
        u = single((t * 0x9E3779B97F4A7C15 & M64) >> 40) / 2**24
        rooms = [single(self.world.of(node).get("headroom", 1)) for node in copies]
        everything = 0.0
        for room in rooms:
            everything = single(everything + room)
        left = single(u * everything)
        for node, room in zip(copies, rooms):
            left = single(left - room)
            if left < 0:
                return node
        return None

    def probe(self, tier, order):
        found = []
        for site, nodes in tier.recovering.items():
            first = self.ranked(nodes, self.key)[:1]
            if site in self.scope:
                first = [node for node in first if not order or self.place(node, self.key) < self.place(order[0], self.key)]
            elif site in tier.admitted or self.total(site) >= self.total(self.scope[0]):
                continue
            found += [node for node in first if self.slice(self.key, node) < tier.slices[node]]
        found.sort(key=lambda node: (self.total(self.site_of(node)), self.place(node, self.key)))
        return found[0] if found else None

    def probe_earlier(self):
        for tier in self.tiers[: self.at]:
            key = self.key_for(tier.affinity)
            for site in sorted(tier.recovering, key=lambda site: (self.total(site), site.encode()))[:1]:
                first = self.ranked(tier.recovering[site], key)[:1]
                if first and self.slice(key, first[0]) < tier.slices[first[0]]:
                    rest = [entry for entry in self.list if entry[0] != first[0]]
                    self.list = [(first[0], "probe")] + rest[: self.wanted - 1]
                    return


def answers(world, request):
    """What lists.json says of a request."""
    lists = [Answer(world, request, wanted) for wanted in range(1, 9)]
    one = lists[-1]
    return {
        "cell": one.cell,
        "hash": f"{one.key:016x}",
        "totals": {site: f"{to_bits(one.total(site)):08x}" for site in one.nodes},
        "scope": one.scope,
        "lists": [[f"{node} {role}" for node, role in answer.list] for answer in lists],
    }
