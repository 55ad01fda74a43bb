// Things that must never be printed: a type that prints as [redacted], and a guard for text that got past it.

/** Holds a token or passphrase; only `reveal()` gives it back, every kind of printing gives `[redacted]`. */
export class Secret {
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  reveal(): string {
    return this.#text;
  }
  toString(): string {
    return '[redacted]';
  }
  toJSON(): string {
    return '[redacted]';
  }
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return '[redacted]';
  }
}

const PRIVATE_KEY = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g;
const TOKEN = /\bi[cj]t1\.[A-Za-z0-9._-]+/g;

/** Text without private keys in PEM (also cut-short ones) and without bootstrap or join tokens. */
export function redact(text: string): string {
  if (!text.includes('PRIVATE KEY') && !text.includes('t1.')) return text;
  return text.replace(PRIVATE_KEY, '[redacted key]').replace(TOKEN, '[redacted token]');
}
