// What each figure should be: the aims of the data plane, as data.

/** `ratio`: ours divided by the peer's, at most `atMost`, said of each of the peers or of the better of them. */
export type Aim =
  | { readonly kind: 'ratio'; readonly peers: readonly string[]; readonly of: 'each' | 'best'; readonly atMost: number }
  | { readonly kind: 'limit'; readonly atMost: number };

const each = (atMost: number, ...peers: string[]): Aim => ({ kind: 'ratio', peers, of: 'each', atMost });

const HTTP1: readonly Aim[] = [each(1.2, 'nginx'), each(1, 'envoy')];
const HTTP2: readonly Aim[] = [each(1, 'nginx', 'envoy')];

/** By workload and metric. What is not here is measured without an aim. */
export const AIMS: Readonly<Record<string, readonly Aim[]>> = {
  'l4-connect/cpu': [each(1, 'nginx', 'haproxy')],
  'l4-bulk/cpu': [{ kind: 'ratio', peers: ['nginx', 'haproxy'], of: 'best', atMost: 0.4 }],
  'l4-latency/added-p50': [each(1.1, 'haproxy')],
  'l4-latency/added-p99': [each(1.1, 'haproxy')],
  'l4-idle/resident': [{ kind: 'limit', atMost: 8 }],
  'http1-plain/cpu': HTTP1,
  'http1-mtls-out/cpu': HTTP1,
  'http1-mtls-in/cpu': HTTP1,
  'http1-mtls-pair/cpu': HTTP1,
  'l7-gateway/cpu': HTTP1,
  'http2/cpu': HTTP2,
  'grpc-unary/cpu': HTTP2,
  'grpc-streaming/cpu': HTTP2,
};

export function aimText(aim: Aim): string {
  if (aim.kind === 'limit') return `≤ ${aim.atMost}`;
  return aim.of === 'best' ? `≤ ${aim.atMost} × the better of ${aim.peers.join(' and ')}` : aim.peers.map((peer) => `≤ ${aim.atMost} × ${peer}`).join(', ');
}

/** Whether our figure and its ratios to the peers' meet the aim; undefined where one it needs is missing. For figures that are better when lower. */
export function meets(aim: Aim, ours: number, ratios: Readonly<Record<string, number>>): boolean | undefined {
  if (aim.kind === 'limit') return Number.isFinite(ours) ? ours <= aim.atMost : undefined;
  const asked = aim.peers.map((peer) => ratios[peer]);
  const known = asked.filter((ratio): ratio is number => ratio !== undefined && Number.isFinite(ratio));
  if (known.length < asked.length) return undefined;
  // The better the peer, the greater our ratio to it: what holds beside the best holds beside each.
  return Math.max(...known) <= aim.atMost;
}
