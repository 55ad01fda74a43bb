// Documents people write for `isthmus apply -f`: YAML or JSON, many to a file, checked strictly, every problem with file and line.
import { type Export, parseExport, parseService, type Parsed, type Service } from '@isthmus/model';
import { LineCounter, parseAllDocuments, type YamlDocument } from '@isthmus/runtime';
import { fail } from './errors.ts';

export type Declaration = Service | Export;

const PARSERS: Readonly<Record<string, (input: unknown) => Parsed<Declaration>>> = { service: parseService, export: parseExport };
const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** Reads every document of a file. Throws CLI_BAD_DOCUMENT naming all problems by `file:line`, so that nothing is applied by halves. */
export function parseDocuments(text: string, file: string): readonly Declaration[] {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) throw fail('CLI_BAD_DOCUMENT', `${file}: larger than ${MAX_FILE_BYTES} bytes`);
  const lines = new LineCounter();
  const parsedDocuments = parseAllDocuments(text, { lineCounter: lines, strict: true, uniqueKeys: true, prettyErrors: false });
  const documents = Array.isArray(parsedDocuments) ? parsedDocuments : [];
  const problems: string[] = [];
  const declarations: Declaration[] = [];
  for (const document of documents) {
    const where = (offset: number): string => `${file}:${lines.linePos(offset).line}`;
    for (const error of document.errors) problems.push(`${where(error.pos[0])}: ${error.message}`);
    if (document.errors.length > 0) continue;
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value === null) continue;
    const checked = checkDeclaration(value);
    if (checked.ok) declarations.push(checked.value);
    else problems.push(...checked.problems.map((p) => `${where(offsetOf(document, p.path))}: ${p.path === '' ? '' : `${p.path}: `}${p.message}`));
  }
  if (problems.length === 0 && declarations.length === 0) problems.push(`${file}: holds no document`);
  if (problems.length > 0) throw fail('CLI_BAD_DOCUMENT', problems.join('\n'), { hint: 'nothing was applied', facts: { file, problems: problems.length } });
  return declarations;
}

function checkDeclaration(value: unknown): Parsed<Declaration> {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  const parse = typeof kind === 'string' && Object.hasOwn(PARSERS, kind) ? PARSERS[kind] : undefined;
  if (parse === undefined) {
    const what = kind === undefined ? 'is missing' : `${JSON.stringify(kind)} is unknown here`;
    return { ok: false, problems: [{ path: 'kind', message: `${what} (want ${Object.keys(PARSERS).join(' or ')})` }] };
  }
  return parse(value);
}

/** The offset of the node a problem's path names, or of its nearest ancestor that is there. */
function offsetOf(document: YamlDocument, path: string): number {
  const keys = path.split(/[.[\]]+/).filter((part) => part !== '').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  for (let depth = keys.length; depth > 0; depth -= 1) {
    const node = document.getIn(keys.slice(0, depth), true);
    if (node !== null && typeof node === 'object' && 'range' in node && Array.isArray(node.range)) return Number(node.range[0]);
  }
  return document.contents?.range?.[0] ?? document.range[0];
}
