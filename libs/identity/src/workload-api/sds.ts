// Envoy's secret discovery service on the Workload API's socket: the secrets a proxy asked for, and again as they change.
import { type IsthmusError, quote, type SpiffeId, spiffeIds } from '@isthmus/model';
import type { SvidSource, X509Svid } from '@isthmus/pki';
import { type discoveryV3, envoyTls, handleUnary, sds, type ServerDuplexStream, status, toServiceError } from '@isthmus/rpc';
import type { Counter } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { Visit } from './door.ts';
import { FIRST_ANSWER_MS, push, type Sink, type Subject } from './push.ts';
import { SECRET_TYPE, secretOf, versionOf, type Wanted, wantedOf } from './secrets.ts';
import type { Served } from './served.ts';

type Stream = ServerDuplexStream<discoveryV3.DiscoveryRequest, discoveryV3.DiscoveryResponse>;

/** One secret, encoded, with its name: what a stream's answers are made of. */
type Secrets = readonly Buffer[];

/** Names one stream may ask for. */
const MAX_NAMES = 128;
const MAX_REASON_CHARS = 500;

/** Serves SDS to whom the door lets in; answers Envoy took and refused are counted, refusals logged. */
export function serveSds(served: Served): { readonly definition: typeof sds.SecretDiscoveryServiceService; readonly implementation: sds.SecretDiscoveryServiceServer } {
  const answers = served.metrics.counter('isthmus_sds_answers_total', 'Answers to secret discovery, by what the proxy made of them: ack or nack', ['outcome']);
  return {
    definition: sds.SecretDiscoveryServiceService,
    implementation: {
      streamSecrets: (call) => {
        try {
          const visit = served.door.enter(call, 'StreamSecrets', { needsHeader: false });
          openSecretStream(served, call, visit, answers);
        } catch (error) {
          call.emit('error', toServiceError(error));
        }
      },
      fetchSecrets: handleUnary((request, call) => {
        const visit = served.door.enter(call, 'FetchSecrets', { needsHeader: false });
        return fetchOnce(served, visit, request).finally(visit.leave);
      }, served.log),
      // Envoy asks this way for api_type DELTA_GRPC only.
      deltaSecrets: (call) => void call.emit('error', { code: status.UNIMPLEMENTED, details: 'secrets are not served incrementally: use api_type GRPC' }),
    },
  };
}

/** One stream: what Envoy asks for and says of the answers comes in, the secrets go out. */
function openSecretStream(served: Served, call: Stream, visit: Visit, answers: Counter): void {
  const { clock, log } = served;
  const { uid, pid } = visit.peer;
  const renamed = new Set<() => void>();
  let wanted: readonly Wanted[] = [];
  let nonce = 0;

  function judge({ errorDetail, node }: discoveryV3.DiscoveryRequest): void {
    answers.inc({ outcome: errorDetail === undefined ? 'ack' : 'nack' });
    if (errorDetail === undefined) return;
    const reason = quote(errorDetail.message.slice(0, MAX_REASON_CHARS));
    log.warn('a proxy refused its secrets', { reason, node: quote(node?.id.slice(0, 200) ?? ''), uid, pid });
  }
  function hear(request: discoveryV3.DiscoveryRequest): void {
    // An answer to an answer that was overtaken says nothing of the newest; and names come again with the next.
    if (request.responseNonce !== '' && request.responseNonce !== String(nonce)) return;
    if (request.responseNonce !== '') judge(request);
    try {
      wanted = wantedIn(request, served, visit);
    } catch (error) {
      const refusal = error as IsthmusError;
      log.warn('secrets refused', { code: refusal.code, reason: refusal.message, uid, pid });
      call.emit('error', toServiceError(refusal));
      return;
    }
    for (const fn of renamed) fn();
  }

  const sink: Sink<Secrets> = {
    write: (secrets) => call.write(responseOf(secrets, String(++nonce))),
    emit: (event, error) => call.emit(event, error),
    on: (event, fn) => call.on(event, fn),
  };
  const subject = secretsSubject(served, visit, () => wanted);
  const names = { onChange: (fn: () => void) => (renamed.add(fn), () => renamed.delete(fn)) };
  served.track(visit, (onEnd) => push(sink, { ...subject, follow: [...subject.follow, names] }, { clock, onSent: () => undefined, onEnd }));
  call.on('data', hear);
  call.on('end', () => call.end());
}

/** **Throws** WORKLOAD_API_INVALID, WORKLOAD_API_DENIED. */
function wantedIn(request: discoveryV3.DiscoveryRequest, served: Served, visit: Visit): readonly Wanted[] {
  if (request.typeUrl !== '' && request.typeUrl !== SECRET_TYPE) throw fail('WORKLOAD_API_INVALID', `only secrets are served here, not ${quote(request.typeUrl)}`);
  const names = [...new Set(request.resourceNames)];
  if (names.length > MAX_NAMES) throw fail('WORKLOAD_API_INVALID', `${names.length} secrets are asked for, ${MAX_NAMES} are allowed`);
  const holder = { trustDomain: served.identity.trustDomain, spiffeIds: idsOf(served, visit) };
  return names.map((name) => wantedOf(name, holder));
}

function idsOf({ identity }: Served, { services }: Visit): SpiffeId[] {
  return services.map((service) => spiffeIds.service(identity.trustDomain, service));
}

function secretsSubject(served: Served, visit: Visit, wanted: () => readonly Wanted[]): Subject<Secrets> {
  const { identity } = served;
  const sources: readonly SvidSource[] = served.sourcesOf(visit);
  return {
    follow: [...sources, identity.bundles],
    encode: (secrets) => Buffer.concat(secrets),
    make: () => {
      const names = wanted();
      if (names.length === 0) return undefined;
      const svids: readonly X509Svid[] = served.currentOf(sources);
      const secrets = names.flatMap((one) => secretOf(one, svids, identity.bundles.all()) ?? []).map((secret) => Buffer.from(envoyTls.Secret.encode(secret).finish()));
      return secrets.length === 0 ? undefined : { answer: secrets, isWhole: secrets.length === names.length };
    },
  };
}

function responseOf(secrets: Secrets, nonce: string): discoveryV3.DiscoveryResponse {
  return { versionInfo: versionOf(secrets), resources: secrets.map((value) => ({ typeUrl: SECRET_TYPE, value })), typeUrl: SECRET_TYPE, nonce };
}

/** The secrets once they are all there, or what there is after the wait. **Throws** WORKLOAD_API_NOT_READY. */
async function fetchOnce(served: Served, visit: Visit, request: discoveryV3.DiscoveryRequest): Promise<discoveryV3.DiscoveryResponse> {
  const wanted = wantedIn(request, served, visit);
  if (wanted.length === 0) throw fail('WORKLOAD_API_INVALID', 'no secret is asked for');
  const made = await served.settled(secretsSubject(served, visit, () => wanted), FIRST_ANSWER_MS);
  return responseOf(made, '');
}
