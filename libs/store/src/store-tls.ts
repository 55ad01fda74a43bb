// A certificate authority for the store alone, so that neither an embedded nor a real etcd listens without authentication.
export interface StoreTlsFiles {
  readonly caFile: string;
  readonly serverCertFile: string;
  readonly serverKeyFile: string;
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
}

export function makeStoreTls(_directory: string, _options: { readonly nowMs: number; readonly dnsNames?: readonly string[] }): Promise<StoreTlsFiles> {
  throw new Error('under construction');
}
