// `isthmus apply -f FILE`: foreign trust domains and services first, then exports; everything is checked before anything is sent.
import { readFileSync } from 'node:fs';
import { IsthmusError, messageOf } from '@isthmus/model';
import { withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { type Declaration, namedBy, parseDocuments } from '../documents.ts';
import { fail } from '../errors.ts';
import { printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';

export async function applyFile(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  const isDryRun = options['dryRun'] === true;
  const declarations = readDeclarations(String(options['file'])).toSorted(byKind);
  const outcomes = await withAdmin(context, async (api) => {
    const done: { kind: string; name: string; changed: boolean }[] = [];
    for (const declaration of declarations) {
      const { changed } = await api.apply(declaration, { dryRun: isDryRun }).catch((error: unknown) => {
        if (isDryRun && isMadeHere(error, declaration, declarations)) return { changed: true };
        throw error;
      });
      done.push({ kind: declaration.kind, name: namedBy(declaration).label, changed });
    }
    return done;
  });
  printRows(context, outcomes, [
    ['kind', (o) => o.kind],
    ['name', (o) => o.name],
    ['outcome', (o) => (!o.changed ? 'unchanged' : isDryRun ? 'would be applied' : 'applied')],
  ]);
}

/** Whether what an export lacks is the service of the same file, which a dry run does not make. */
function isMadeHere(error: unknown, { kind, ...of }: Declaration, all: readonly Declaration[]): boolean {
  if (!(error instanceof IsthmusError) || error.code !== 'CONTROL_PLANE_EXPORT_WITHOUT_SERVICE' || kind !== 'export') return false;
  return all.some((other) => other.kind === 'service' && 'namespace' in of && other.namespace === of.namespace && other.name === of.name);
}

/** An export needs its service to be there, and the foreign trust domains whose callers it names. */
export function byKind(a: Declaration, b: Declaration): number {
  const order = { 'federated-trust-domain': 0, service: 1, export: 2, drain: 3 };
  return order[a.kind] - order[b.kind];
}

/** Every document of a file, or of standard input for `-`. **Throws** CLI_BAD_INPUT, CLI_BAD_DOCUMENT. */
export function readDeclarations(file: string): readonly Declaration[] {
  return parseDocuments(readInput(file), file === '-' ? 'standard input' : file);
}

function readInput(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw fail('CLI_BAD_INPUT', `cannot read ${file}: ${messageOf(error)}`);
  }
}
