// A certificate authority for the store alone, so that neither an embedded nor a real etcd listens without authentication.
import { createPublicKey } from 'node:crypto';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { type SpiffeId, spiffeIds, type TrustDomain } from '@isthmus/model';
import { exportKeyPem, generateKey, type Issuer, signRoot, signSvid, toPem } from '@isthmus/pki';
import { makePrivateDir, writePrivateFile } from '@isthmus/runtime';

/** PEM files of a store's own CA and of both ends' certificates, each of mode 0600. */
export interface StoreTlsFiles {
  readonly caFile: string;
  readonly serverCertFile: string;
  readonly serverKeyFile: string;
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
}

const DOMAIN = 'store.isthmus.internal' as TrustDomain;
/** Used between processes of one machine or one cluster of control planes; made anew only when its files are removed. */
const TTL_MS = 5 * 365 * 24 * 3_600_000;

/**
 * Makes the CA and certificates in a directory, or finds those made before. The CA's key is not kept: nothing else can
 * ever be signed by it. The server is good for localhost, loopback and `dnsNames`. **Throws** STATE_*.
 */
export async function makeStoreTls(directory: string, options: { readonly nowMs: number; readonly dnsNames?: readonly string[] }): Promise<StoreTlsFiles> {
  const files: StoreTlsFiles = {
    caFile: join(directory, 'ca.pem'),
    serverCertFile: join(directory, 'server.pem'),
    serverKeyFile: join(directory, 'server-key.pem'),
    clientCertFile: join(directory, 'client.pem'),
    clientKeyFile: join(directory, 'client-key.pem'),
  };
  // The CA is written last: where it is, everything is.
  if (await access(files.caFile).then(() => true, () => false)) return files;
  await makePrivateDir(directory);
  const { nowMs } = options;
  const key = generateKey();
  const ca: Issuer = { key, cert: signRoot({ key, federation: DOMAIN, nowMs, ttlMs: TTL_MS }) };
  const leaf = async (name: 'server' | 'client', certFile: string, keyFile: string): Promise<void> => {
    const leafKey = generateKey();
    const isServer = name === 'server';
    const cert = signSvid({
      issuer: ca,
      publicKey: createPublicKey(leafKey),
      spiffeId: `${spiffeIds.authority(DOMAIN)}/${name}` as SpiffeId,
      commonName: isServer ? 'isthmus store' : 'isthmus control plane',
      ...(isServer && { dnsNames: ['localhost', ...(options.dnsNames ?? [])], ipAddresses: ['127.0.0.1', '::1'] }),
      nowMs,
      ttlMs: TTL_MS,
    });
    await writePrivateFile(keyFile, exportKeyPem(leafKey));
    await writePrivateFile(certFile, toPem(cert));
  };
  await leaf('server', files.serverCertFile, files.serverKeyFile);
  await leaf('client', files.clientCertFile, files.clientKeyFile);
  await writePrivateFile(files.caFile, toPem(ca.cert));
  return files;
}
