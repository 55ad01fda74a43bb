// The trust root's operator over the network: a member's admin API asks for a person, and gets what this trust root's own configuration lets that one do.
import { roleOf, schemas, type Static, strict, type TrustDomain, Type } from '@isthmus/model';
import { callerOf, handleUnary, type handleUnaryCall, type Metadata, toServiceError, type trust } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { WriteTerms } from './remembered-writes.ts';
import type { Root } from './root.ts';
import type { OperatorWork } from './serve.ts';

const rightSchema = Type.Union([Type.Literal('rotate'), Type.Literal('fence'), Type.Literal('members')]);

/** Whom a member's admin API may ask for, and what. */
export const remoteOperatorSchema = strict({
  cluster: schemas.dnsLabel,
  who: Type.Union([Type.Literal('all'), Type.Array(Type.String({ minLength: 1, maxLength: 2_048 }), { minItems: 1, maxItems: 1_000 })], {
    default: 'all',
    description: 'persons by SPIFFE ID or oidc:<issuer>:<subject>; `all`: whoever that cluster’s admin API calls a trust-admin of the federation',
  }),
  may: Type.Array(rightSchema, { minItems: 1, description: '`rotate` the root, `fence` clusters, admit and remove `members`' }),
});
export type RemoteOperator = Static<typeof remoteOperatorSchema>;

/** Metadata of a call: for whom it is made, and the id of that one's request. */
export const ON_BEHALF_OF = 'isthmus-on-behalf-of';
export const REQUEST_ID = 'isthmus-request';
/** And of a write: the key it is remembered by, and `true` where it is only tried. */
export const IDEMPOTENCY_KEY = 'isthmus-idempotency-key';
export const DRY_RUN = 'isthmus-dry-run';

type Right = 'read' | 'socket-only' | Static<typeof rightSchema>;
type Call = { readonly metadata: Metadata; getPeer(): string };
type Asked = { readonly forwardedBy: string; readonly cluster: string; readonly caller: string; readonly request: string };

export type RemoteParts = {
  /** What the Unix socket serves. */
  readonly admin: trust.TrustRootAdminServer;
  readonly work: OperatorWork;
  readonly operators: readonly RemoteOperator[];
  readonly root: Pick<Root, 'memberOf' | 'ledger' | 'bundles' | 'once'>;
  readonly log: Log;
};

/**
 * The same service for the TLS listener. Reading is open to every member's admin API; a change needs an entry in `operators`,
 * and is in the transparency log before it is tried. What is for a moment when certificates prove nothing stays with the socket.
 */
export function serveRemoteOperators({ admin, work, operators, root, log }: RemoteParts): trust.TrustRootAdminServer {
  const judge = async (call: Call, action: string, right: Right): Promise<Asked> => {
    const asked = askedBy(call, root);
    if (right === 'read') return asked;
    const isLet = right !== 'socket-only' && operators.some((o) => o.cluster === asked.cluster && o.may.includes(right) && (o.who === 'all' || o.who.includes(asked.caller)));
    if (!isLet) {
      log.warn('an operator’s request over the network is refused', { action, ...asked });
      if (right === 'socket-only') throw fail('IDENTITY_SOCKET_ONLY', `${action} is done at the trust root’s own socket only`, { hint: 'run the same command on the trust root’s machine' });
      throw fail('IDENTITY_OPERATOR_DENIED', `the trust root does not let ${asked.caller} of ${asked.cluster} ${action}`, { hint: 'the trust root’s configuration says who may, in `operators`' });
    }
    if (isDryRun(call)) return asked;
    await root.ledger.append([{ kind: OPERATOR_REQUEST, facts: { action, ...asked } }]);
    log.info('an operator’s request over the network', { action, ...asked });
    return asked;
  };
  const guarded = <Req, Res>(action: string, rightOf: (request: Req) => Right, inner: handleUnaryCall<Req, Res>): handleUnaryCall<Req, Res> => (call, callback) => {
    judge(call, action, rightOf(call.request)).then(
      () => inner(call, callback),
      (error: unknown) => callback(toServiceError(error)),
    );
  };
  /** A change: once for its key, or only tried. `instead` is what a repeated or tried one answers. */
  const changing = <Req, Res>(action: string, rightOf: (request: Req) => Right, change: (request: Req) => Promise<Res>, instead: (earlier: Readonly<Record<string, string | number>>, isReplay: boolean) => Res): handleUnaryCall<Req, Res> =>
    handleUnary(async (request, call) => {
      const asked = await judge(call, action, rightOf(request));
      const terms: WriteTerms = { caller: `${asked.forwardedBy} ${asked.caller}`, idempotencyKey: textOf(call.metadata, IDEMPOTENCY_KEY), dryRun: isDryRun(call), fingerprint: `${action} ${JSON.stringify(request)}` };
      const answer = await root.once(terms, () => change(request));
      return answer.how === 'done' ? answer.value : instead(answer.how === 'replayed' ? answer.outcome : {}, answer.how === 'replayed');
    }, log);
  const replayed = (_earlier: object, isReplay: boolean) => ({ replayed: isReplay });
  return {
    getFederation: guarded('read the federation', () => 'read', admin.getFederation),
    getRotation: guarded('read the rotation', () => 'read', admin.getRotation),
    getLog: guarded('read the log', () => 'read', admin.getLog),
    // Whoever holds a compromised root's key can be anybody, so no certificate proves an operator then.
    rotate: changing('rotate the root', ({ compromised }: trust.RotateRequest) => (compromised ? 'socket-only' : 'rotate'), work.rotate, (_earlier, isReplay) => ({ ...work.rotation(), replayed: isReplay })),
    fenceCluster: changing('fence a cluster', () => 'fence', work.fenceCluster, replayed),
    unfenceCluster: changing('lift a fence', () => 'fence', work.unfenceCluster, replayed),
    // The secret was shown once: whoever repeats the request learns which token that was, and not what it is.
    createClusterToken: changing('admit a cluster', () => 'members', work.createClusterToken, ({ id = '', expiresAtMs = 0 }, isReplay) => ({ token: '', id: String(id), expiresAtMs: BigInt(expiresAtMs), replayed: isReplay })),
    removeCluster: changing('remove a cluster', () => 'members', work.removeCluster, replayed),
    checkpointLog: guarded('sign the log', () => 'socket-only', admin.checkpointLog),
  };
}

/** A record of what was asked; the change that follows has records of its own. */
export const OPERATOR_REQUEST = 'operator-request';

/** **Throws** IDENTITY_DENIED for every caller but a member's admin API that says for whom it asks. */
function askedBy(call: Call, root: RemoteParts['root']): Asked {
  const caller = callerOf(call);
  if (caller === undefined || roleOf(caller.spiffeId).kind !== 'admin-api') throw fail('IDENTITY_DENIED', 'only a member’s admin API may call this', { facts: { caller: caller?.spiffeId ?? 'nobody' } });
  const member = root.memberOf(caller.trustDomain);
  // The connection of a cluster that was fenced since may still be open.
  const isTrusted = (root.bundles.get(caller.trustDomain as TrustDomain)?.x509Authorities.length ?? 0) > 0;
  if (member === undefined || !isTrusted) throw fail('IDENTITY_DENIED', `${caller.trustDomain} is no member of this federation`, { facts: { caller: caller.spiffeId } });
  const person = textOf(call.metadata, ON_BEHALF_OF);
  if (person === '') throw fail('IDENTITY_DENIED', `${caller.spiffeId} does not say for whom it asks`);
  return { forwardedBy: caller.spiffeId, cluster: member.cluster, caller: person, request: textOf(call.metadata, REQUEST_ID) };
}

function isDryRun(call: Call): boolean {
  return textOf(call.metadata, DRY_RUN) === 'true';
}

function textOf(metadata: Metadata, name: string): string {
  const [value] = metadata.get(name);
  return typeof value === 'string' ? value.slice(0, 2_048) : '';
}
