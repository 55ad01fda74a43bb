// What an agent or gateway is told about joining its cluster, with a token or by attesting, and the reading of that evidence.
import { X509Certificate } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { parseDnsLabel, parseTrustDomain, schemas, type Static, strict, Type, valueOf } from '@isthmus/model';
import { importKeyPem, MAX_TOKEN_BYTES, sha256Hex } from '@isthmus/pki';
import { readPrivateFile } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import type { EvidenceSource, ProxyAttestation } from './ticket.ts';

const file = (description: string) => Type.String({ minLength: 1, maxLength: 1_024, description });

/** The `attestation` part of an agent's or gateway's configuration; exactly one of the methods. */
export const proxyAttestationSchema = strict({
  cluster: Type.String({ maxLength: 32, description: 'name of the cluster to join' }),
  federation: Type.String({ maxLength: 200, description: 'the federation’s trust domain, such as acme.example' }),
  rootSha256: Type.Optional(Type.Array(Type.String({ pattern: '^[0-9a-f]{64}$' }), { maxItems: 8, description: 'SHA-256 of the federation’s root certificate (`isthmus status` shows it); two while a root is rotated' })),
  rootFile: Type.Optional(file('PEM file with the root certificates instead')),
  jwtFile: Type.Optional(file('file with a token of an issuer the control plane takes, such as a projected service-account token; read anew at each attestation')),
  awsInstance: Type.Optional(
    strict({ url: Type.String({ default: 'http://169.254.169.254', pattern: '^https?://[^/]+$', maxLength: 300, description: 'the instance metadata service' }) }),
  ),
  x509: Type.Optional(
    strict({ certificateFile: file('PEM file with this machine’s certificate and the CAs between it and the root'), keyFile: file('PEM file with its key, mode 0600; it is never sent') }),
  ),
});
/** Settings of every program that joins a cluster as a proxy: where it keeps what it is, whom it asks, and how it proves who it is. */
export const membershipSettings = {
  stateDir: Type.String({ description: 'directory for keys and state, mode 0700' }),
  server: strict({
    address: schemas.hostPort,
    serverName: Type.Optional(Type.String({ description: 'SNI of the control plane (default: control-plane.isthmus.<trust domain>)' })),
  }),
  joinToken: Type.Optional(Type.String({ description: 'the one-time join token; better in a file', maxLength: 4_096 })),
  joinTokenFile: Type.Optional(Type.String({ description: 'file with the one-time join token; needed on the first start only' })),
  attestation: Type.Optional(proxyAttestationSchema),
} as const;

export type ProxyAttestationConfig = Static<typeof proxyAttestationSchema>;

/** The attestation a configuration describes. **Throws** IDENTITY_ATTESTATION_CONFIG; STATE_EXPOSED when others may read the key. */
export async function openProxyAttestation(config: ProxyAttestationConfig): Promise<ProxyAttestation> {
  const wrong = (text: string) => fail('IDENTITY_ATTESTATION_CONFIG', `attestation: ${text}`);
  const sources = sourcesOf(config);
  const [source] = sources;
  if (source === undefined || sources.length > 1) throw wrong(`needs exactly one of jwtFile, awsInstance and x509, has ${sources.length}`);
  const cluster = parseDnsLabel(config.cluster, 'cluster');
  const federation = parseTrustDomain(config.federation, 'federation');
  if (!cluster.ok) throw wrong(`cluster: ${config.cluster} is no cluster’s name`);
  if (!federation.ok) throw wrong(`federation: ${config.federation} is no trust domain`);
  const rootSha256 = [...(config.rootSha256 ?? []), ...(config.rootFile === undefined ? [] : fingerprintsIn(await readFile(config.rootFile, 'utf8')))];
  if (rootSha256.length === 0) throw wrong('needs rootSha256 or rootFile: how else would the control plane be known');
  // A key that others may read is refused now, not when it is first needed.
  if (source.method === 'x509') await source.read();
  return { cluster: cluster.value, federation: valueOf(federation), rootSha256, source };
}

function sourcesOf({ jwtFile, awsInstance, x509 }: ProxyAttestationConfig): EvidenceSource[] {
  return [
    ...(jwtFile === undefined ? [] : [{ method: 'jwt' as const, read: () => readToken(jwtFile) }]),
    // Its HTTP client is a third of an agent's code, and few machines are instances.
    ...(awsInstance === undefined ? [] : [{ method: 'aws-instance' as const, read: async () => (await import('./aws-document.ts')).readInstanceDocument(awsInstance.url) }]),
    ...(x509 === undefined ? [] : [{ method: 'x509' as const, read: () => readPair(x509) }]),
  ];
}

async function readToken(path: string): Promise<string> {
  const handle = await open(path, 'r');
  try {
    const { size } = await handle.stat();
    if (size > MAX_TOKEN_BYTES) throw new Error(`${path} has ${size} bytes, a token has at most ${MAX_TOKEN_BYTES}`);
    const text = (await handle.readFile('utf8')).trim();
    if (text === '') throw new Error(`${path} is empty`);
    return text;
  } finally {
    await handle.close();
  }
}

async function readPair({ certificateFile, keyFile }: { readonly certificateFile: string; readonly keyFile: string }): Promise<Awaited<ReturnType<Extract<EvidenceSource, { method: 'x509' }>['read']>>> {
  const [pem, keyPem] = await Promise.all([readFile(certificateFile, 'utf8'), readPrivateFile(keyFile, { maxBytes: 64 * 1024 })]);
  return { chain: certificatesIn(pem).map((certificate) => certificate.raw), key: importKeyPem(keyPem) };
}

function certificatesIn(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.slice(0, 16).map((block) => new X509Certificate(block));
}

function fingerprintsIn(pem: string): string[] {
  return certificatesIn(pem).map((certificate) => sha256Hex(certificate.raw));
}
