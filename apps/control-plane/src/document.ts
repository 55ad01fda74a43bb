// A document an operator sent: parsed strictly, every wrong field named.
import { type Export, formatProblems, messageOf, parseExport, parseService, type Parsed, type Service } from '@isthmus/model';
import { fail } from './errors.ts';

/** The largest document an operator may send. */
const MAX_DOCUMENT_BYTES = 256 * 1024;

/** Parses what an operator sent, strictly: unknown fields and unknown kinds are errors that name them. **Throws** CONTROL_PLANE_RESOURCE_INVALID. */
export function parseDocument(bytes: Uint8Array): Service | Export {
  if (bytes.byteLength > MAX_DOCUMENT_BYTES) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is larger than ${MAX_DOCUMENT_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is not JSON: ${messageOf(error)}`);
  }
  const kind = typeof json === 'object' && json !== null && 'kind' in json ? json.kind : undefined;
  if (kind !== 'service' && kind !== 'export') {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `kind: must be "service" or "export", not ${JSON.stringify(kind)}`);
  }
  const parsed: Parsed<Service | Export> = kind === 'service' ? parseService(json) : parseExport(json);
  if (!parsed.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `${kind}: ${formatProblems(parsed.problems)}`);
  const duplicate = parsed.value.kind === 'service' ? firstDuplicate(parsed.value.ports.map((p) => p.name)) : undefined;
  if (duplicate !== undefined) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `service: ports: name ${duplicate} stands twice`);
  return parsed.value;
}

function firstDuplicate(names: readonly string[]): string | undefined {
  return names.find((name, i) => names.indexOf(name) !== i);
}
