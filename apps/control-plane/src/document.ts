// A document an operator sent: parsed strictly, every wrong field named.
import { type Drain, type Export, type FederatedTrustDomain, formatProblems, formatServiceName, messageOf, parseDrain, parseExport, parseFederatedTrustDomain, parseService, type Parsed, type Service } from '@isthmus/model';
import { keys } from '@isthmus/store';
import { fail } from './errors.ts';

/** The largest document an operator may send. */
const MAX_DOCUMENT_BYTES = 256 * 1024;

export type Declaration = Service | Export | FederatedTrustDomain | Drain;

const PARSERS: Readonly<Record<string, (input: unknown) => Parsed<Declaration>>> = { service: parseService, export: parseExport, 'federated-trust-domain': parseFederatedTrustDomain, drain: parseDrain };

/** Where a document lies in the store, and what it is called in messages. */
export function placeOf(document: Declaration): { readonly key: string; readonly label: string } {
  if (document.kind === 'federated-trust-domain') return { key: keys.federated(document.trustDomain, 'declared'), label: `${document.kind} ${document.trustDomain}` };
  if (document.kind === 'drain') return { key: keys.drain(document.role, document.name), label: `drain of ${document.role} ${document.name}` };
  return { key: keys.resource(document.kind, document.namespace, document.name), label: `${document.kind} ${formatServiceName(document)}` };
}

/** Parses what an operator sent, strictly: unknown fields and unknown kinds are errors that name them. **Throws** CONTROL_PLANE_RESOURCE_INVALID. */
export function parseDocument(bytes: Uint8Array): Declaration {
  if (bytes.byteLength > MAX_DOCUMENT_BYTES) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is larger than ${MAX_DOCUMENT_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is not JSON: ${messageOf(error)}`);
  }
  const kind = typeof json === 'object' && json !== null && 'kind' in json ? json.kind : undefined;
  const parse = typeof kind === 'string' && Object.hasOwn(PARSERS, kind) ? PARSERS[kind] : undefined;
  if (parse === undefined) {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `kind: must be ${Object.keys(PARSERS).map((known) => `"${known}"`).join(', ')}, not ${JSON.stringify(kind)}`);
  }
  const parsed = parse(json);
  if (!parsed.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `${String(kind)}: ${formatProblems(parsed.problems)}`);
  const duplicate = parsed.value.kind === 'service' ? firstDuplicate(parsed.value.ports.map((p) => p.name)) : undefined;
  if (duplicate !== undefined) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `service: ports: name ${duplicate} stands twice`);
  return parsed.value;
}

function firstDuplicate(names: readonly string[]): string | undefined {
  return names.find((name, i) => names.indexOf(name) !== i);
}
