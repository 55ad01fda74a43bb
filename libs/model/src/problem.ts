// What a parser answers: the value, or every problem it found with the path of each.
import { fail } from './errors.ts';

/** One thing wrong with an input: where (a path such as `spec.ports[1].name`) and what. */
export type Problem = { readonly path: string; readonly message: string };

/** The answer of every `parse*`: the parsed value, or all the problems. */
export type Parsed<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problems: readonly Problem[] };

export function parsed<T>(value: T): Parsed<T> {
  return { ok: true, value };
}

export function refused<T>(path: string, message: string): Parsed<T> {
  return { ok: false, problems: [{ path, message }] };
}

/** The path of the field a problem is about: an unknown field's own, where the problem names it in its message. */
export function fieldOf({ path, message }: Problem): string {
  const unknown = /^unknown field "([^"]+)"/.exec(message)?.[1];
  return unknown === undefined ? path : path === '' ? unknown : `${path}.${unknown}`;
}

/** All problems on one line, for an error message: `spec.name: must be a DNS label; spec.port: …`. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems.map((p) => (p.path === '' ? p.message : `${p.path}: ${p.message}`)).join('; ');
}

/** The value of an answer that must be good, where nothing is left to ask the person. **Throws** MODEL_INVALID. */
export function valueOf<T>(answer: Parsed<T>): T {
  if (answer.ok) return answer.value;
  throw fail('MODEL_INVALID', formatProblems(answer.problems));
}
