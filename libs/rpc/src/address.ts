// Addresses as people write them.

/** Splits `host:port`, `[v6]:port`. **Throws** TypeError for anything else: addresses are checked where they come in. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65_535)) throw new TypeError(`${JSON.stringify(address)} is no host:port`);
  return { host, port };
}

/** The target grpc-js dials: one address by name or number, several IPv4 ones as a list tried in turn. */
export function toTarget(addresses: readonly string[]): string {
  const [first] = addresses;
  if (first === undefined) throw new TypeError('no address to dial');
  if (first.startsWith('unix:')) return first;
  const isV4 = (address: string): boolean => /^\d{1,3}(\.\d{1,3}){3}:\d+$/.test(address);
  return addresses.length > 1 && addresses.every(isV4) ? `ipv4:${addresses.join(',')}` : first;
}
