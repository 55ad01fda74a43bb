// A ticket's evidence made ready for one request: read anew, and signed over the control plane's challenge where it is a proof.
import { IsthmusError, messageOf } from '@isthmus/model';
import type { identity } from '@isthmus/rpc';
import { fail } from '../errors.ts';
import type { EvidenceSource, JoinEvidence, JoinTicket } from './ticket.ts';

/** **Throws** IDENTITY_EVIDENCE_MISSING when it cannot be read. */
export async function presented({ evidence }: JoinTicket, _csr: Buffer, _client: identity.IssuanceClient, _timeoutMs: number): Promise<JoinEvidence> {
  switch (evidence.method) {
    case 'token':
      return { $case: 'token', value: evidence.token };
    case 'jwt':
      return { $case: 'jwt', value: await readFrom(evidence) };
    case 'aws-instance':
      return { $case: 'awsInstance', value: { pkcs7: await readFrom(evidence) } };
    case 'x509':
      throw fail('IDENTITY_EVIDENCE_MISSING', 'x509 is to come');
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
