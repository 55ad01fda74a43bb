// The words by which `isthmus get` and completion know kinds of things.

/** Words a kind goes by. */
export const KINDS: Readonly<Record<string, string>> = {
  services: 'service', service: 'service', exports: 'export', export: 'export', workloads: 'workload', workload: 'workload', imports: 'import', import: 'import',
  peers: 'peer', peer: 'peer', proxies: 'proxy', proxy: 'proxy', agents: 'agent', agent: 'agent', gateways: 'gateway', gateway: 'gateway', drains: 'drain', drain: 'drain', clusters: 'member', cluster: 'member', certificates: 'certificate', certificate: 'certificate',
  'foreign-trust-domains': 'federated-trust-domain', 'foreign-trust-domain': 'federated-trust-domain', 'federated-trust-domain': 'federated-trust-domain', bans: 'ban', ban: 'ban',
  bundles: 'bundle', bundle: 'bundle', tokens: 'join-token', token: 'join-token', 'join-tokens': 'join-token', entries: 'entry', entry: 'entry',
};

/** One word for each kind: the plural. */
export const KIND_WORDS: readonly string[] = Object.keys(KINDS).filter((word) => word.endsWith('s'));
