// `isthmus_bundle_federation`: a foreign trust domain whose bundle a cluster takes, so that exports can name its callers.
import { RESOURCES } from '@isthmus/api';
import { parseFederatedTrustDomain } from '@isthmus/model';
import type { Api } from '../connection/api.ts';
import { NUMBER, objectOf, STRING } from '../protocol/attribute.ts';
import type { Outcome, ResourceDefinition } from '../protocol/definition.ts';
import { isObject, isSame, textAt, type Value, type ValueObject } from '../protocol/value.ts';
import { absentAsUndefined, declaredResource } from './declared.ts';
import { resourceNamed } from './named.ts';
import { clusterOf } from './scope.ts';

const declared = declaredResource({
  typeName: 'isthmus_bundle_federation',
  description: 'A foreign trust domain of a cluster: where its bundle is had, and by hand its first one. Who of it may call what is said by `foreign_callers` of `isthmus_export`.',
  example: `resource "isthmus_bundle_federation" "partner" {
  cluster      = "east"
  trust_domain = "partner.example"
  source = {
    profile   = "https_spiffe"
    url       = "https://bundles.partner.example:8443/"
    spiffe_id = "spiffe://partner.example/spire/server"
  }
  bundle = {
    document = file("partner.json")
    sha256   = "1f9c3b0a6d52e7c48b19f0d3a7c6e5b4928170fedcba98765432100123456789" # told by another way than the file
  }
}`,
  resource: resourceNamed(RESOURCES, 'federated-trust-domain'),
  parse: parseFederatedTrustDomain,
});

/** What lies beside the declaration. */
const BESIDE: ReadonlySet<string> = new Set(['bundle', 'state', 'sequence']);
const SHA256 = /^[0-9a-f]{64}$/;

type Held = { readonly state: string; readonly sequence?: number };

const paramsOf = (api: Api, state: ValueObject): Record<string, string> => ({ cluster: clusterOf(api, state), trustDomain: textAt(state, 'trust_domain') ?? '' });

/** What the cluster knows of the bundle now. */
async function withHeld(api: Api, outcome: Outcome, signal: AbortSignal): Promise<Outcome> {
  const { state } = outcome;
  if (state === null || outcome.error !== undefined) return outcome;
  const held = await absentAsUndefined(api.call<Held>('getForeignBundle', { params: paramsOf(api, state) }, signal));
  return { ...outcome, state: { ...state, state: held?.value.state ?? 'none', sequence: held?.value.sequence ?? null } };
}

/** Brings the bundle that is to be brought; where it is refused, the state says that the one before stands. */
async function withBundle(api: Api, outcome: Outcome, before: Value, signal: AbortSignal): Promise<Outcome> {
  const { state } = outcome;
  const bundle = state?.['bundle'];
  if (state === null || outcome.error !== undefined || !isObject(bundle) || isSame(bundle, before)) return withHeld(api, outcome, signal);
  try {
    // The same document again changes nothing, so this is made again without a key.
    await api.call('putForeignBundle', { params: paramsOf(api, state), body: { document: textAt(bundle, 'document'), sha256: textAt(bundle, 'sha256') } }, signal);
  } catch (error) {
    return { ...outcome, state: { ...state, bundle: before }, error };
  }
  return withHeld(api, outcome, signal);
}

export const bundleFederation: ResourceDefinition<Api> = {
  ...declared,
  attributes: {
    ...declared.attributes,
    bundle: {
      type: objectOf({
        document: { type: STRING, mode: 'required', description: 'A SPIFFE bundle document, to the byte.' },
        sha256: { type: STRING, mode: 'required', description: 'SHA-256 of the same in hex, told by another way than the document.' },
      }),
      mode: 'optional',
      description: 'A bundle brought by hand: the first one of `https_spiffe`, every one of `file`. An older one than is in force is refused.',
    },
    state: { type: STRING, mode: 'computed', isVolatile: true, description: '`ok`; `failing`: the last good bundle stays in force; `none`: nobody of it is let in.' },
    sequence: { type: NUMBER, mode: 'computed', isVolatile: true, isNullable: true, description: 'Sequence of the bundle in force.' },
  },
  validate: (config) => {
    const sha256 = isObject(config['bundle']) ? textAt(config['bundle'], 'sha256') : undefined;
    const own = sha256 === undefined || SHA256.test(sha256) ? [] : [{ path: 'bundle.sha256', message: 'must be 64 hex digits in lower case' }];
    return [...declared.validate(Object.fromEntries(Object.entries(config).filter(([name]) => !BESIDE.has(name)))), ...own];
  },
  create: async (api, planned, operation) => withBundle(api, await declared.create(api, planned, operation), null, operation.signal),
  update: async (api, planned, prior, kept, operation) => withBundle(api, await declared.update(api, planned, prior, kept, operation), prior['bundle'] ?? null, operation.signal),
  read: async (api, state, kept, operation) => withHeld(api, await declared.read(api, state, kept, operation), operation.signal),
};
