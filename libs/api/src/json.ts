// JSON as strictly as an API should take it: bounded depth, no key twice, no key that reaches a prototype.
import { type Parsed, type Problem, refused } from '@isthmus/model';

/** How deep values may lie in each other. */
export const MAX_DEPTH = 32;
const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Parses JSON (RFC 8259); refuses a key that stands twice in one object, `__proto__`, `constructor` and `prototype` as
 * keys, and more than 32 levels, naming the place. Numbers that are no finite double are refused. O(length).
 */
export function parseStrictJson(text: string): Parsed<unknown> {
  const reader = new Reader(text);
  try {
    return { ok: true, value: reader.document() };
  } catch (error) {
    if (error instanceof Refusal) return { ok: false, problems: [error.problem] };
    return refused('', 'is not JSON');
  }
}

class Refusal extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// oxlint-disable-next-line no-control-regex -- RFC 8259 §7: control characters must be escaped
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const SPACE = /[ \t\n\r]*/y;
const WORD = /true|false|null/y;

class Reader {
  readonly #text: string;
  #at = 0;
  readonly #path: (string | number)[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  document(): unknown {
    const value = this.#value(0);
    this.#match(SPACE);
    if (this.#at < this.#text.length) this.#refuse(`is not JSON: more follows at character ${this.#at + 1}`);
    return value;
  }

  #value(depth: number): unknown {
    if (depth > MAX_DEPTH) this.#refuse(`lies deeper than ${MAX_DEPTH} levels`);
    this.#match(SPACE);
    const first = this.#text[this.#at];
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#array(depth);
    if (first === '"') return this.#string();
    const word = this.#match(WORD);
    if (word !== undefined) return word === 'null' ? null : word === 'true';
    const number = this.#match(NUMBER);
    if (number === undefined) this.#refuse(`is not JSON: ${this.#at >= this.#text.length ? 'it ends too early' : `unexpected character at ${this.#at + 1}`}`);
    const value = Number(number);
    if (!Number.isFinite(value)) this.#refuse('is a number beyond all bounds');
    return value;
  }

  #object(depth: number): object {
    this.#at += 1;
    const made: Record<string, unknown> = {};
    if (this.#punctuation('}')) return made;
    do {
      this.#match(SPACE);
      const key = this.#string();
      this.#path.push(key);
      if (FORBIDDEN_KEYS.has(key)) this.#refuse('is no name a field may have');
      if (Object.hasOwn(made, key)) this.#refuse('stands twice');
      if (!this.#punctuation(':')) this.#refuse(`is not JSON: want : at character ${this.#at + 1}`);
      made[key] = this.#value(depth + 1);
      this.#path.pop();
    } while (this.#punctuation(','));
    if (!this.#punctuation('}')) this.#refuse(`is not JSON: want , or } at character ${this.#at + 1}`);
    return made;
  }

  #array(depth: number): unknown[] {
    this.#at += 1;
    const made: unknown[] = [];
    if (this.#punctuation(']')) return made;
    do {
      this.#path.push(made.length);
      made.push(this.#value(depth + 1));
      this.#path.pop();
    } while (this.#punctuation(','));
    if (!this.#punctuation(']')) this.#refuse(`is not JSON: want , or ] at character ${this.#at + 1}`);
    return made;
  }

  #string(): string {
    const text = this.#match(STRING);
    if (text === undefined) this.#refuse(`is not JSON: want a string at character ${this.#at + 1}`);
    return JSON.parse(text) as string;
  }

  #punctuation(character: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) return undefined;
    this.#at += found.length;
    return found;
  }

  #refuse(message: string): never {
    const path = this.#path.map((step, i) => (typeof step === 'number' ? `[${step}]` : `${i === 0 ? '' : '.'}${step}`)).join('');
    throw new Refusal({ path: path.slice(0, 200), message });
  }
}
