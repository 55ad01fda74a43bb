// A ticket's evidence made ready for one request: read anew, and signed over the control plane's challenge where it is a proof.
import { createHash } from 'node:crypto';
import { IsthmusError, messageOf } from '@isthmus/model';
import { signPossession } from '@isthmus/pki';
import { call, type identity } from '@isthmus/rpc';
import { fail } from '../errors.ts';
import type { EvidenceSource, JoinEvidence, JoinTicket } from './ticket.ts';

/** **Throws** IDENTITY_EVIDENCE_MISSING when it cannot be read. */
export async function presented({ evidence, trustDomain }: JoinTicket, csr: Buffer, client: identity.IssuanceClient, timeoutMs: number): Promise<JoinEvidence> {
  switch (evidence.method) {
    case 'token':
      return { $case: 'token', value: evidence.token };
    case 'jwt':
      return { $case: 'jwt', value: await readFrom(evidence) };
    case 'aws-instance':
      return { $case: 'awsInstance', value: { pkcs7: await readFrom(evidence) } };
    case 'x509': {
      const { chain, key } = await readFrom(evidence);
      // On the same channel as what follows: the nonce is good on this connection only.
      const { nonce } = await call<identity.ChallengeRequest, identity.ChallengeResponse>(client.challenge.bind(client), {}, { timeoutMs });
      const signature = signPossession(key, { trustDomain, nonce, csrSha256: createHash('sha256').update(csr).digest() });
      return { $case: 'x509Proof', value: { chain: [...chain], nonce, signature } };
    }
  }
}

async function readFrom<T>(source: { readonly method: EvidenceSource['method']; readonly read: () => Promise<T> }): Promise<T> {
  try {
    return await source.read();
  } catch (cause) {
    if (cause instanceof IsthmusError) throw cause;
    throw fail('IDENTITY_EVIDENCE_MISSING', `what to attest with (${source.method}) cannot be read: ${messageOf(cause)}`, { cause });
  }
}
