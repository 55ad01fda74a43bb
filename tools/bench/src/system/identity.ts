// A throw-away certificate authority with one caller and one service: the same certificates for ours and for every peer.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bundle } from '@isthmus/model';
import { svidToPem, toPem } from '@isthmus/pki';
import { testAuthority } from '@isthmus/pki/testing';
import { CALLER_ID, GATEWAY_ID, LAYER7_NAME, SERVER_NAME, SERVICE_ID } from '../ours/service.ts';
import type { MutualTls } from '../peers/proxy-spec.ts';

/** What our own proxies need: files and the trust bundle. */
export type BundleFile = { readonly bundle: Bundle; readonly caller: MutualTls; readonly service: MutualTls; readonly gateway: MutualTls };

export const CALLER_DNS = 'web.bench.test';

/** Issues both certificates and writes them under `folder`. The service's DNS name is the one the mesh asks for: our inbound refuses others. */
export function issueIdentities(folder: string): BundleFile {
  mkdirSync(folder, { recursive: true });
  const authority = testAuthority({ federation: 'acme.example', cluster: 'east' });
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const caFile = write('ca.pem', toPem(authority.root.cert));
  const identity = (name: string, id: string, dnsName: string, peerName: string): MutualTls => {
    const { certPem, keyPem } = svidToPem(authority.issue(id, { dnsNames: [dnsName] }));
    return { certFile: write(`${name}.crt`, certPem), keyFile: write(`${name}.key`, keyPem), pemFile: write(`${name}.pem`, certPem + keyPem), caFile, peerName };
  };
  return { bundle: authority.bundle, caller: identity('caller', CALLER_ID, CALLER_DNS, SERVER_NAME), service: identity('service', SERVICE_ID, SERVER_NAME, CALLER_DNS), gateway: identity('gateway', GATEWAY_ID, LAYER7_NAME, CALLER_DNS) };
}
