// Attestation by a one-time join token: what an operator wrote down for one agent, spent with its first use.
import type { JoinToken } from '@isthmus/model';
import type { Clock } from '@isthmus/runtime';
import { keys } from '@isthmus/store';
import type { TokenStore } from '../issuance/join-tokens.ts';
import { tokenRefused } from '../token.ts';
import type { Attestor } from './attestor.ts';

/** The attestor of the tokens in this store. */
export function openTokenAttestor(tokens: TokenStore, clock: Clock): Attestor<'token'> {
  return {
    method: 'token',
    async attest({ token }) {
      const { kept, modRevision } = await tokens.find(token);
      const { id, agent, role, services } = kept;
      const key = keys.joinToken(id);
      const used: JoinToken = { ...kept, usedAtMs: clock.nowMs() };
      return {
        method: 'token',
        subject: `token ${id}`,
        tokenId: id,
        agent,
        role,
        services,
        canReattest: false,
        once: { compare: [{ key, modRevision }], then: [{ put: { key, value: JSON.stringify(used) } }] },
        refusal: tokenRefused('it was used by another at the same moment'),
      };
    },
    close: () => Promise.resolve(),
  };
}
