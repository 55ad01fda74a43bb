// `isthmus certificate …`: which X.509 SVIDs are in use, whose they are, and when they end.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { formatDuration, messageOf } from '@isthmus/model';
import { systemClock } from '@isthmus/runtime';
import { type Document, withAdmin } from '../admin.ts';
import { type CommandContext, withChannel } from '../context.ts';
import { fail } from '../errors.ts';
import { formatDocument, printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { proxyApi } from '../proxy-admin.ts';
import { text } from './cluster.ts';
import { instant } from './token.ts';

export async function listCertificates(context: CommandContext): Promise<void> {
  const certificates = await withAdmin(context, (api) => api.list('certificate'));
  printRows(context, certificates, [
    ['name', (c) => text(c['name'])],
    ['spiffe id', (c) => text(c['spiffeId'])],
    ['expires', (c) => instant(c['expiresAtMs'])],
    ['left', (c) => left(c['expiresAtMs'])],
  ]);
}

/** The SVIDs an agent holds, or those of a PEM file. */
export async function showCertificate(context: CommandContext, [name = 'vm-1']: readonly string[], options: Options): Promise<void> {
  if (typeof options['file'] === 'string') {
    const described = readPem(options['file']).map(describeCertificate);
    return printOutcome(context, described.map(formatDocument).join('\n\n'), described);
  }
  const status = await withChannel(context.socketOf(name), (channel) => proxyApi(channel).status());
  const svids = (Array.isArray(status['svids']) ? status['svids'] : []) as Document[];
  if (svids.length === 0) throw fail('CLI_NOT_FOUND', `${name} says of no SVID that it holds it`);
  const described = svids.map((svid) => (typeof svid['certPem'] === 'string' ? describeCertificate(svid['certPem']) : svid));
  printOutcome(context, described.map(formatDocument).join('\n\n'), described);
}

function readPem(file: string): string[] {
  let pem: string;
  try {
    pem = readFileSync(file, 'utf8');
  } catch (error) {
    throw fail('CLI_BAD_INPUT', `cannot read ${file}: ${messageOf(error)}`);
  }
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (blocks === null) throw fail('CLI_BAD_INPUT', `${file} holds no PEM certificate`);
  return blocks;
}

/** What a person wants to know of a certificate. */
export function describeCertificate(pem: string): Document {
  const certificate = new X509Certificate(pem);
  const expiresAtMs = Date.parse(certificate.validTo);
  return {
    spiffeId: /URI:([^,]+)/.exec(certificate.subjectAltName ?? '')?.[1],
    names: certificate.subjectAltName,
    isAuthority: certificate.ca,
    serial: certificate.serialNumber,
    notBefore: instant(Date.parse(certificate.validFrom)),
    expires: instant(expiresAtMs),
    left: left(expiresAtMs),
    key: `${certificate.publicKey.asymmetricKeyType} ${certificate.publicKey.asymmetricKeyDetails?.namedCurve ?? certificate.publicKey.asymmetricKeyDetails?.modulusLength ?? ''}`.trim(),
    sha256: certificate.fingerprint256,
  };
}

function left(expiresAtMs: unknown): string | undefined {
  if (typeof expiresAtMs !== 'number') return undefined;
  const leftMs = expiresAtMs - systemClock.nowMs();
  return leftMs > 0 ? formatDuration(leftMs) : 'expired';
}
