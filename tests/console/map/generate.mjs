// Answers of /api/v1/service-map for maps of a known size, the same each time.

/** A generator of numbers from 0 to 1 that begins anew with each seed. */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function workload(namespace, name, kind = "Deployment") {
  return {
    id: `workload:${namespace}/${name}/${kind}`,
    kind: "workload",
    namespace,
    workload: name,
    workload_kind: kind,
    pod: null,
    cloud_service: null,
    region: null,
    network: null,
    label: name,
    tx_bytes: 0,
    rx_bytes: 0,
    edges: 0,
  };
}

function outside(kind, label, region = null) {
  const of = workload(null, label);
  return {
    ...of,
    id: `${kind}:${label}${region ? `/${region}` : ""}`,
    kind,
    workload: null,
    workload_kind: null,
    cloud_service: kind === "cloud" ? label : null,
    network: kind === "external" && label !== "internet" ? label : null,
    region,
  };
}

function pod(of, name) {
  return {
    ...of,
    id: `pod:${of.namespace}/${of.workload}/${of.workload_kind}/${name}`,
    kind: "pod",
    pod: name,
    label: name,
  };
}

function edge(source, target, bytes, more = {}) {
  const { ratio = 0, crossing = 0, rtt = 0.0008, failures = 0 } = more;
  const tx = Math.round(bytes * 0.3);
  const packets = Math.max(10, Math.round(tx / 1200));
  source.tx_bytes += tx;
  source.rx_bytes += bytes - tx;
  target.rx_bytes += tx;
  target.tx_bytes += bytes - tx;
  source.edges += 1;
  target.edges += 1;
  const again = Math.round(packets * ratio);
  return {
    id: `${source.id}->${target.id}`,
    source: source.id,
    target: target.id,
    bytes,
    tx_bytes: tx,
    rx_bytes: bytes - tx,
    tx_packets: packets,
    retransmits: again,
    retransmit_ratio: again / packets,
    rx_packets: packets * 2,
    server_tx_packets: packets * 2,
    server_rx_packets: packets - again,
    server_retransmits: Math.round(packets * ratio * 0.1),
    timeouts: Math.round(again / 20),
    server_timeouts: 0,
    drops: 0,
    server_drops: 0,
    resets: 0,
    connects: 400,
    connect_failures: failures,
    lost_tx: again,
    lost_rx: 0,
    rtt_p50: rtt / 2,
    rtt_p95: rtt,
    crossing: { "same-zone": Math.round(bytes * (1 - crossing)), "cross-zone": Math.round(bytes * crossing) },
    protocols: ["tcp"],
  };
}

function answer(nodes, edges) {
  const end = 1_790_000_000;
  edges.sort((a, b) => b.bytes - a.bytes);
  return {
    start: end - 3600,
    end,
    seconds: 3600,
    nodes,
    edges,
    hidden: { edges: 0, bytes: 0 },
    notes: [],
    tiers: [{ table: "flows", start: end - 3600, end }],
    completeness: { ratio: 1, agents: 3, silent: 0 },
  };
}

/** A shop of ten workloads with what it talks to; one pod of products loses packets. */
export function shop(expanded = []) {
  const s = (name, kind) => workload("shop", name, kind);
  const front = s("frontend");
  const gateway = s("graphql");
  const orders = s("orders");
  const products = s("products");
  const cart = s("cart");
  const db = workload("data", "postgres", "StatefulSet");
  const cache = workload("data", "redis", "StatefulSet");
  const search = workload("data", "search", "StatefulSet");
  const ingress = workload("ingress", "nginx", "DaemonSet");
  const prometheus = workload("monitoring", "prometheus", "StatefulSet");
  const internet = outside("external", "internet");
  const payment = outside("external", "payment");
  const s3 = outside("cloud", "S3", "eu-central-1");
  const open = expanded.includes("shop/products");
  const pods = ["products-6d9f7c-x2k4p", "products-6d9f7c-8wqzn", "products-6d9f7c-m5vtb"].map((name) =>
    pod(products, name),
  );
  const shares = [0.22, 0.22, 0.56];
  const toProducts = (from, bytes, ratios) =>
    open
      ? pods.map((one, i) => edge(from, one, Math.round(bytes * shares[i]), { ratio: ratios[i] }))
      : [
          edge(from, products, bytes, {
            ratio: ratios.reduce((sum, ratio, i) => sum + ratio * shares[i], 0),
            crossing: 0.35,
          }),
        ];
  const edges = [
    edge(internet, ingress, 9.4e9, { rtt: 0.041 }),
    edge(ingress, front, 9.1e9, { ratio: 0.0002, crossing: 0.3 }),
    edge(front, gateway, 6.2e9, { ratio: 0.0001 }),
    edge(gateway, orders, 1.9e9),
    edge(gateway, cart, 0.8e9),
    ...toProducts(gateway, 3.6e9, [0.0001, 0.0001, 0.0001]),
    ...toProducts(orders, 1.1e9, [0.0002, 0.0001, 0.061]),
    edge(orders, db, 2.2e9, { crossing: 0.5 }),
    edge(open ? pods[0] : products, db, 1.4e9),
    edge(open ? pods[1] : products, search, 0.9e9, { ratio: 0.0021 }),
    edge(cart, cache, 1.2e9),
    edge(orders, payment, 0.06e9, { rtt: 0.08, failures: 1 }),
    edge(open ? pods[0] : products, s3, 4.8e9, { rtt: 0.012 }),
    ...[front, gateway, orders, cart, db, cache].map((one) => edge(prometheus, one, 0.02e9)),
  ];
  const nodes = [
    ingress,
    front,
    gateway,
    orders,
    cart,
    ...(open ? pods : [products]),
    db,
    cache,
    search,
    prometheus,
    internet,
    payment,
    s3,
  ];
  return answer(nodes, edges);
}

/** Rows of /api/v1/flows for orders to products of the shop, pod by pod. */
export function pods() {
  const names = [
    "bytes",
    "tx_packets",
    "retransmits",
    "timeouts",
    "connect_failures",
    "rtt_p95",
    "server_tx_packets",
    "server_retransmits",
    "server_timeouts",
    "lost_tx",
  ];
  const columns = [
    ...["pod", "peer_pod", "node", "peer_node"].map((name) => ({ name, kind: "label", unit: "" })),
    ...names.map((name) => ({ name, kind: "measure", unit: "" })),
  ];
  const rows = ["orders-5b8d-k9x2c", "orders-5b8d-p7f4w"].flatMap((client) =>
    ["x2k4p", "8wqzn", "m5vtb"].map((end, i) => {
      const again = i === 2 ? 5030 : 14;
      return [
        client,
        `products-6d9f7c-${end}`,
        "node-1",
        `node-${i + 1}`,
        1.8e8,
        91_000,
        again,
        again / 40,
        0,
        i === 2 ? 0.21 : 0.0009,
        140_000,
        again / 9,
        0,
        again,
      ].map((cell) => (typeof cell === "number" && cell > 1 ? Math.round(cell) : cell));
    }),
  );
  const { tiers, completeness, start, end, seconds } = shop();
  const total = columns.map(({ kind, name }, i) =>
    kind === "label" ? null : name === "rtt_p95" ? 0.21 : rows.reduce((sum, row) => sum + row[i], 0),
  );
  return {
    view: "cluster",
    start,
    end,
    seconds,
    columns,
    rows,
    total,
    other: null,
    groups: rows.length,
    spark: null,
    promql: null,
    sql: null,
    notes: [],
    tiers,
    completeness,
  };
}

/** A map of so many workloads and edges; few workloads have most of them. */
export function large(workloads = 500, edges = 5000, seed = 1) {
  const next = numbers(seed);
  const pick = (of) => of[Math.floor(of.length * next() ** 1.7)];
  const namespaces = Array.from(
    { length: Math.max(2, Math.round(workloads / 17)) },
    (_, i) => `team-${i + 1}`,
  );
  const nodes = Array.from({ length: workloads - 12 }, (_, i) =>
    workload(pick(namespaces), `service-${i + 1}`),
  );
  for (let i = 0; i < 8; i++)
    nodes.push(outside("cloud", ["S3", "DYNAMODB", "EC2", "SQS"][i % 4], `eu-central-${1 + (i >> 2)}`));
  for (const name of ["internet", "office", "partner", "payment"]) nodes.push(outside("external", name));
  const inside = nodes.filter((node) => node.kind === "workload");
  const seen = new Set();
  const made = [];
  while (made.length < edges) {
    const source = pick(inside);
    const near = inside.filter((node) => node.namespace === source.namespace);
    const target =
      next() < 0.45 ? near[Math.floor(next() * near.length)] : nodes[Math.floor(next() * nodes.length)];
    const key = `${source.id} ${target.id}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const hot = next() < 0.006;
    made.push(
      edge(source, target, Math.round(10 ** (3 + 7 * next())), {
        ratio: hot ? 0.01 + next() * 0.05 : next() < 0.03 ? 0.003 : next() * 0.0004,
        crossing: next() < 0.3 ? next() : 0,
        rtt: 0.0004 + next() * 0.004,
      }),
    );
  }
  return answer(nodes, made);
}
