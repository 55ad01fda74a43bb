// What Terraform is told: errors and warnings, each with the attribute it is about.
import { IsthmusError, messageOf, type Problem } from '@isthmus/model';
import { terraform } from '@isthmus/rpc';
import type { AttributeType } from './attribute.ts';

const { ERROR, WARNING } = terraform.Diagnostic_Severity;

/** Problems of a configuration, each at its attribute. Paths are those of the attributes, such as `ports[0].port`. */
export function problemDiagnostics(type: AttributeType, problems: readonly Problem[]): terraform.Diagnostic[] {
  return problems.map(({ path, message }) => ({
    severity: ERROR,
    summary: path === '' ? 'Wrong configuration' : `Wrong value of ${path}`,
    detail: path === '' ? message : `${path}: ${message}.`,
    attribute: toAttributePath(type, path),
  }));
}

/** A failure while something was done, such as `create isthmus_service`. */
export function errorDiagnostic(doing: string, error: unknown): terraform.Diagnostic {
  const known = error instanceof IsthmusError;
  const hint = known && error.hint !== undefined ? `\n\n${error.hint[0]?.toUpperCase() ?? ''}${error.hint.slice(1)}.` : '';
  return { severity: ERROR, summary: `Cannot ${doing}`, detail: `${messageOf(error)}${known ? ` (${error.code})` : ''}${hint}`, attribute: undefined };
}

export function warning(summary: string, detail: string): terraform.Diagnostic {
  return { severity: WARNING, summary, detail, attribute: undefined };
}

/**
 * A path in text as the protocol's steps, as far as the schema has them. An element of a set has no place of its own: the
 * path ends at the set.
 */
export function toAttributePath(type: AttributeType, path: string): terraform.AttributePath | undefined {
  const steps: terraform.AttributePath_Step[] = [];
  let at: AttributeType | undefined = type;
  for (const [, name, index] of path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)) {
    if (at === undefined) break;
    if (at.kind === 'object' && name !== undefined && Object.hasOwn(at.attributes, name)) {
      steps.push({ selector: { $case: 'attributeName', value: name } });
      at = at.attributes[name]?.type;
    } else if (at.kind === 'map' && name !== undefined) {
      steps.push({ selector: { $case: 'elementKeyString', value: name } });
      at = at.element;
    } else if (at.kind === 'list' && index !== undefined) {
      steps.push({ selector: { $case: 'elementKeyInt', value: BigInt(index) } });
      at = at.element;
    } else break;
  }
  return steps.length === 0 ? undefined : { steps };
}
