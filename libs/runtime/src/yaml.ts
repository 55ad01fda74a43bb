// The door to yaml: text into values and back, with the line of every path, strictly and within bounds.
import { type Parsed, type Problem, parsed } from '@isthmus/model';
import { Document, isMap, isScalar, isSeq, LineCounter, parseAllDocuments } from 'yaml';

/** A parsed document and where each path of it stands. */
export type YamlDocument = {
  readonly value: unknown;
  /** Line (from 1) of a path such as `spec.ports[0].name`, or of its nearest parent that is there. */
  readonly lineOf: (path: string) => number;
  /** Whether the document itself has something at this path. */
  readonly has: (path: string) => boolean;
};

const MAX_TEXT_CHARS = 4 * 1024 * 1024;

/** Parses a file that may hold several documents. Aliases are bounded, duplicate keys and bad indentation are problems. */
export function parseYaml(text: string, fileName: string): Parsed<readonly YamlDocument[]> {
  if (text.length > MAX_TEXT_CHARS) return { ok: false, problems: [{ path: fileName, message: `larger than ${MAX_TEXT_CHARS} characters` }] };
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, strict: true, uniqueKeys: true, prettyErrors: false });
  const problems: Problem[] = [];
  const values: YamlDocument[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    for (const error of document.errors) problems.push({ path: `${fileName}:${lines.linePos(error.pos[0]).line}`, message: error.message });
    if (document.errors.length > 0) continue;
    try {
      const value: unknown = document.toJS({ maxAliasCount: 50 });
      values.push({
        value,
        lineOf: (path) => lines.linePos(find(document.contents, path).offset).line,
        has: (path) => find(document.contents, path).isWhole,
      });
    } catch (error) {
      problems.push({ path: fileName, message: error instanceof Error ? error.message : String(error) });
    }
  }
  return problems.length > 0 ? { ok: false, problems } : parsed(values);
}

/** Writes a value as YAML; `comment` gives each scalar or list (by its path) a comment behind it. */
export function formatYaml(value: unknown, comment?: (path: string) => string | undefined): string {
  const document = new Document(value);
  const annotate = (node: unknown, path: string): void => {
    if (isMap(node)) for (const item of node.items) annotate(item.value, `${path === '' ? '' : `${path}.`}${String(isScalar(item.key) ? item.key.value : item.key)}`);
    else if (isScalar(node) || isSeq(node)) {
      const text = comment?.(path);
      if (isSeq(node)) node.flow = node.items.every((item) => isScalar(item));
      if (text !== undefined) node.comment = ` ${text}`;
    }
  };
  annotate(document.contents, '');
  return document.toString({ lineWidth: 0 });
}

function find(root: unknown, path: string): { readonly offset: number; readonly isWhole: boolean } {
  let node = root;
  let offset = startOf(root);
  for (const step of path.match(/[^.[\]]+/g) ?? []) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === step);
      if (pair === undefined) return { offset, isWhole: false };
      offset = startOf(pair.key);
      node = pair.value;
    } else if (isSeq(node) && node.items[Number(step)] !== undefined) {
      node = node.items[Number(step)];
      offset = startOf(node);
    } else return { offset, isWhole: false };
  }
  return { offset, isWhole: true };
}

function startOf(node: unknown): number {
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  return Array.isArray(range) && typeof range[0] === 'number' ? range[0] : 0;
}
