// Which join tokens could be spent now, asked while an address is held back: who has one must not wait for others behind the same gateway.
import { parseToken } from '@isthmus/pki';
import type { Clock } from '@isthmus/runtime';
import type { TokenStore } from './join-tokens.ts';

/** The list is read from the store so often at most, however many ask. */
const REFRESH_MS = 1_000;

export interface UnspentTokens {
  /** Whether this text is a token that could be spent a second ago. **Throws** STORE_*. */
  has(text: string): Promise<boolean>;
}

export function openUnspentTokens(tokens: Pick<TokenStore, 'list'>, clock: Clock): UnspentTokens {
  let known: Promise<ReadonlySet<string>> | undefined;
  let readAtMs = -Infinity;
  const read = async (): Promise<ReadonlySet<string>> => {
    const nowMs = clock.nowMs();
    const unspent = (await tokens.list()).filter((token) => token.usedAtMs === undefined && token.expiresAtMs > nowMs);
    return new Set(unspent.map((token) => token.secretSha256));
  };
  return {
    async has(text) {
      const parsed = parseToken(text);
      if (!parsed.ok) return false;
      if (known === undefined || clock.monotonicMs() - readAtMs >= REFRESH_MS) {
        readAtMs = clock.monotonicMs();
        known = read();
        // The next asks again; this one is told.
        known.catch(() => (known = undefined));
      }
      return (await known).has(parsed.value.secretSha256);
    },
  };
}
