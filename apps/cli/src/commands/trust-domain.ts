// `isthmus trust federate`, `drop`, `list` and `bundle …`: foreign trust domains, and bundles by file for sites that may not call each other.
import { createHash, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { type FederatedTrustDomain, formatDuration, formatProblems, messageOf, parseFederatedTrustDomain, type TrustDomain } from '@isthmus/model';
import { MAX_BUNDLE_DOCUMENT_BYTES, parseBundleDocument } from '@isthmus/pki';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { type ExportedBundle, withForeignTrust } from '../foreign-trust.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text } from './cluster.ts';

/** Declares a foreign trust domain, and takes its first bundle where a file is given: its fingerprint is checked before anything is written. */
export async function federate(context: CommandContext, [trustDomain = '']: readonly string[], options: Options): Promise<void> {
  const declared = await declarationOf(trustDomain, options);
  const file = options['bundle'];
  const document = typeof file === 'string' ? await readBundle(file, trustDomain) : undefined;
  const sha256 = document && (await expectedFingerprint(context, document, options));
  const { changed, sequence } = await withForeignTrust(context, async (api) => {
    const made = await api.declare(declared);
    if (document === undefined) return { changed: made.changed, sequence: undefined };
    const taken = await api.importBundle(trustDomain, document, sha256 ?? '');
    return { changed: made.changed || taken.changed, sequence: taken.sequence };
  });
  const next = sequence !== undefined || declared.source.profile === 'https_web' ? '' : '; give it a first bundle with `isthmus trust bundle import`';
  printOutcome(context, `${trustDomain} ${changed ? 'is federated' : 'is federated already, unchanged'}${next}`, { changed, document: declared, sequence });
}

/** Takes a trust domain and its bundle away: its callers are let in no longer. */
export async function drop(context: CommandContext, [trustDomain = '']: readonly string[]): Promise<void> {
  const { existed } = await withForeignTrust(context, (api) => api.remove(trustDomain));
  if (!existed) throw fail('CLI_NOT_FOUND', `no foreign trust domain ${trustDomain} is federated with this cluster`, { hint: 'isthmus trust list shows those that are' });
  printOutcome(context, `${trustDomain} is dropped; its callers are let in no longer`, { trustDomain, removed: true });
}

/** Prints the foreign trust domains with the state and age of each bundle. */
export async function listTrustDomains(context: CommandContext): Promise<void> {
  const rows = await withForeignTrust(context, (api) => api.states());
  printRows(context, rows, [
    ['trust domain', (r) => text(r['trustDomain'])],
    ['profile', (r) => text(r['profile'])],
    ['state', (r) => text(r['state'])],
    ['sequence', (r) => text(r['sequence'])],
    ['authorities', (r) => `${text(r['x509Authorities'])} x509, ${text(r['jwtAuthorities'])} jwt`],
    ['confirmed', (r) => (typeof r['ageMs'] === 'number' ? `${formatDuration(r['ageMs'])} ago` : undefined)],
    ['last error', (r) => text(r['lastError'])],
  ]);
}

/** Prints what a bundle in force trusts: this cluster's own, or that of the trust domain given. */
export async function showBundle(context: CommandContext, [trustDomain = '']: readonly string[]): Promise<void> {
  const exported = await exportFrom(context, trustDomain);
  const parsed = parseBundleDocument(exported.document, exported.trustDomain as TrustDomain);
  if (!parsed.ok) throw fail('CLI_BAD_INPUT', `the control plane gave a document that is no bundle: ${formatProblems(parsed.problems)}`);
  const { bundle } = parsed.value;
  const rows = [
    ...bundle.x509Authorities.map((base64) => {
      const certificate = new X509Certificate(Buffer.from(base64, 'base64'));
      return { use: 'x509-svid', name: certificate.subject.replaceAll('\n', ', '), sha256: certificate.fingerprint256.replaceAll(':', '').toLowerCase(), until: new Date(certificate.validTo).toISOString() };
    }),
    ...(bundle.jwtAuthorities ?? []).map(({ keyId, publicKey }) => ({ use: 'jwt-svid', name: keyId, sha256: sha256Of(Buffer.from(publicKey, 'base64')), until: undefined })),
  ];
  if (context.output === 'table') {
    context.stdout.write(`trust domain  ${exported.trustDomain}\nsequence      ${exported.sequence}\nrefresh hint  ${formatDuration(bundle.refreshHintSeconds * 1_000)}\nsha-256       ${exported.sha256}\n\n`);
  }
  printRows(
    context,
    rows,
    [
      ['use', (r) => r.use],
      ['name', (r) => r.name],
      ['sha-256', (r) => r.sha256],
      ['until', (r) => r.until],
    ],
    { trustDomain: exported.trustDomain, sequence: exported.sequence, sha256: exported.sha256, refreshHintSeconds: bundle.refreshHintSeconds, keys: rows },
  );
}

/** Writes a bundle in force as a SPIFFE bundle document; its fingerprint goes to standard error, to be told by another way. */
export async function exportBundle(context: CommandContext, [trustDomain = '']: readonly string[], options: Options): Promise<void> {
  const exported = await exportFrom(context, trustDomain);
  const file = options['out'];
  if (typeof file === 'string') await writeFile(file, exported.document);
  else context.stdout.write(exported.document);
  context.stderr.write(`${exported.trustDomain} sequence ${exported.sequence} sha-256 ${exported.sha256}\n`);
}

/** Takes a bundle document of a trust domain that is declared; refused without a fingerprint, or a person who compared it. */
export async function importBundle(context: CommandContext, [trustDomain = '', file = '']: readonly string[], options: Options): Promise<void> {
  const document = await readBundle(file, trustDomain);
  const sha256 = await expectedFingerprint(context, document, options);
  const { changed, sequence } = await withForeignTrust(context, (api) => api.importBundle(trustDomain, document, sha256));
  printOutcome(context, `bundle of ${trustDomain}, sequence ${sequence}, ${changed ? 'is in force' : 'was in force already'}`, { trustDomain, sequence, changed });
}

/** The declaration the options of `federate` make. **Throws** CLI_BAD_INPUT. */
export async function declarationOf(trustDomain: string, options: Options): Promise<FederatedTrustDomain> {
  const url = options['url'];
  const profile = String(options['profile'] ?? (url === undefined ? 'file' : 'https_spiffe'));
  const ca = options['ca'];
  const caPem = typeof ca === 'string' ? await readFile(ca, 'utf8').catch((error: unknown) => refuse(`--ca: ${messageOf(error)}`)) : undefined;
  const parsed = parseFederatedTrustDomain({
    kind: 'federated-trust-domain',
    trustDomain,
    source: {
      profile,
      ...(url !== undefined && { url }),
      ...(options['spiffeId'] !== undefined && { spiffeId: options['spiffeId'] }),
      ...(caPem !== undefined && { caPem }),
    },
  });
  return parsed.ok ? parsed.value : refuse(formatProblems(parsed.problems));
}

async function readBundle(file: string, trustDomain: string): Promise<Buffer> {
  const document = await readFile(file).catch((error: unknown) => refuse(`${file}: ${messageOf(error)}`));
  if (document.byteLength > MAX_BUNDLE_DOCUMENT_BYTES) return refuse(`${file}: larger than ${MAX_BUNDLE_DOCUMENT_BYTES} bytes`);
  const parsed = parseBundleDocument(document, trustDomain as TrustDomain);
  return parsed.ok ? document : refuse(`${file} is no bundle document: ${formatProblems(parsed.problems)}`);
}

/** `--sha256`, or the document's own once a person said it is the right one. **Throws** CLI_BAD_INPUT where nobody can be asked. */
async function expectedFingerprint(context: CommandContext, document: Buffer, options: Options): Promise<string> {
  const given = options['sha256'];
  if (typeof given === 'string') return given;
  const found = sha256Of(document);
  if (process.stdin.isTTY !== true) return refuse('--sha256 is needed: the fingerprint of the document, told by another way than the document itself');
  const terminal = createInterface({ input: process.stdin, output: context.stderr });
  const answer = await terminal.question(`The document has SHA-256\n  ${found}\nIs that what its owner told you? (yes/no) `);
  terminal.close();
  return answer.trim() === 'yes' ? found : refuse('not imported');
}

function exportFrom(context: CommandContext, trustDomain: string): Promise<ExportedBundle> {
  return withForeignTrust(context, (api) => api.exportBundle(trustDomain));
}

function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function refuse(why: string): never {
  throw fail('CLI_BAD_INPUT', why);
}
