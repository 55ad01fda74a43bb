// Documents people write for `isthmus apply -f`: YAML or JSON, many to a file, checked strictly, every problem with file and line.
import { type Drain, type Export, type FederatedTrustDomain, fieldOf, formatServiceName, parseDrain, parseExport, parseFederatedTrustDomain, parseService, type Parsed, type Problem, type Service } from '@isthmus/model';
import { parseYaml, suggest } from '@isthmus/runtime';
import { fail } from './errors.ts';

export type Declaration = Service | Export | FederatedTrustDomain | Drain;

const PARSERS: Readonly<Record<string, (input: unknown) => Parsed<Declaration>>> = { service: parseService, export: parseExport, 'federated-trust-domain': parseFederatedTrustDomain, drain: parseDrain };

/** What a declaration is called: by namespace and name, or by a name alone. */
export function namedBy(declaration: Declaration): { readonly namespace: string; readonly name: string; readonly label: string } {
  if (declaration.kind === 'federated-trust-domain') return { namespace: '', name: declaration.trustDomain, label: declaration.trustDomain };
  if (declaration.kind === 'drain') return { namespace: declaration.role, name: declaration.name, label: `${declaration.role}/${declaration.name}` };
  const { namespace, name } = declaration;
  return { namespace, name, label: formatServiceName(declaration) };
}

/** Reads every document of a file. Throws CLI_BAD_DOCUMENT naming all problems by `file:line`, so that nothing is applied by halves. */
export function parseDocuments(text: string, file: string): readonly Declaration[] {
  const read = parseYaml(text, file);
  const problems = read.ok ? [] : read.problems.map((p) => `${p.path}: ${p.message}`);
  const declarations: Declaration[] = [];
  for (const { value, lineOf } of read.ok ? read.value : []) {
    // `---` with nothing after it.
    if (value === null) continue;
    const checked = checkDeclaration(value);
    if (checked.ok) declarations.push(checked.value);
    else problems.push(...checked.problems.map((p) => `${file}:${lineOf(fieldOf(p))}: ${p.path === '' ? '' : `${p.path}: `}${p.message}`));
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
    return { ok: false, problems: [{ path: 'kind', message: `${what} (want ${Object.keys(PARSERS).join(', ').replace(/, ([^,]+)$/, ' or $1')})` }] };
  }
  const parsed = parse(value);
  // Of an unknown field the schema says the same a second time, as `schema is false`.
  return parsed.ok ? parsed : { ok: false, problems: mistyped(parsed.problems.filter((p) => p.message !== 'schema is false')) };
}

/** A field that is unknown and one that is missing beside it, of nearly the same name, are one typo. */
function mistyped(problems: readonly Problem[]): readonly Problem[] {
  const missingAt = (path: string): Problem | undefined => problems.find((p) => p.path === path && MISSING.test(p.message));
  const meant = new Map<Problem, { readonly missing: Problem; readonly hint: string }>();
  for (const problem of problems) {
    const unknown = /^unknown field "([^"]+)"/.exec(problem.message)?.[1];
    const missing = missingAt(problem.path);
    const hint = unknown === undefined || missing === undefined ? '' : suggest(unknown, MISSING.exec(missing.message)?.[1]?.split(', ') ?? []);
    if (missing !== undefined && hint !== '') meant.set(problem, { missing, hint });
  }
  const explained = new Set([...meant.values()].filter(({ missing }) => !(MISSING.exec(missing.message)?.[1] ?? '').includes(',')).map(({ missing }) => missing));
  return problems.filter((p) => !explained.has(p)).map((p) => (meant.has(p) ? { ...p, message: `${p.message}${meant.get(p)?.hint ?? ''}` } : p));
}

const MISSING = /^must have required propert(?:y|ies) (.+)$/;
