// What is read of Kubernetes objects: the few fields that count, each bounded; everything else is let go at once.
import { compileSchema, type Parsed, parsed, refused, type Static, Type } from '@isthmus/model';

/** Longest text kept of any one annotation or message. */
const MAX_ANNOTATION_CHARS = 4_096;
const name = Type.String({ pattern: '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$', maxLength: 253 });
const label = Type.String({ pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$', maxLength: 63 });
const texts = Type.Optional(Type.Union([Type.Null(), Type.Record(Type.String(), Type.String())]));
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const optionalText = (maxLength: number) => Type.Optional(Type.String({ maxLength }));

const metadataSchema = Type.Object({
  name,
  namespace: label,
  uid: optionalText(128),
  resourceVersion: Type.String({ minLength: 1, maxLength: 64 }),
  creationTimestamp: Type.Optional(Type.Union([Type.Null(), Type.String({ maxLength: 64 })])),
  generation: Type.Optional(Type.Integer({ minimum: 0 })),
  labels: texts,
  annotations: texts,
});

const serviceSchema = Type.Object({
  metadata: metadataSchema,
  spec: Type.Object({
    type: optionalText(32),
    clusterIP: optionalText(64),
    ports: Type.Optional(
      Type.Array(Type.Object({ name: optionalText(63), port, protocol: optionalText(16), appProtocol: optionalText(512) }), { maxItems: 1_000 }),
    ),
  }),
});

const conditionsSchema = Type.Object({
  ready: Type.Optional(Type.Union([Type.Null(), Type.Boolean()])),
  serving: Type.Optional(Type.Union([Type.Null(), Type.Boolean()])),
  terminating: Type.Optional(Type.Union([Type.Null(), Type.Boolean()])),
});

const endpointSliceSchema = Type.Object({
  metadata: metadataSchema,
  addressType: Type.String({ maxLength: 16 }),
  endpoints: Type.Optional(
    Type.Union([
      Type.Null(),
      Type.Array(
        Type.Object({
          // Of more than one address only the first counts (EndpointSlice API: consumers may take any, the others are unused).
          addresses: Type.Array(Type.String({ maxLength: 253 }), { minItems: 1, maxItems: 100 }),
          conditions: Type.Optional(conditionsSchema),
          hostname: optionalText(63),
          nodeName: optionalText(253),
          zone: optionalText(253),
          targetRef: Type.Optional(Type.Object({ kind: optionalText(63), name: optionalText(253), uid: optionalText(128) })),
        }),
        { maxItems: 1_000 },
      ),
    ]),
  ),
  ports: Type.Optional(
    Type.Union([
      Type.Null(),
      Type.Array(Type.Object({ name: Type.Optional(Type.Union([Type.Null(), Type.String({ maxLength: 63 })])), port: Type.Optional(Type.Union([Type.Null(), port])), protocol: optionalText(16) }), { maxItems: 1_000 }),
    ]),
  ),
});

const conditionSchema = Type.Object({
  type: Type.String({ maxLength: 316 }),
  status: Type.String({ maxLength: 16 }),
  reason: optionalText(1_024),
  message: optionalText(32_768),
  lastTransitionTime: optionalText(64),
  observedGeneration: Type.Optional(Type.Integer({ minimum: 0 })),
});
/** A condition in the form all of Kubernetes has it. */
export type Condition = Static<typeof conditionSchema>;

const serviceExportSchema = Type.Object({
  metadata: metadataSchema,
  status: Type.Optional(Type.Object({ conditions: Type.Optional(Type.Array(conditionSchema, { maxItems: 100 })) })),
});

/** What every object is known and ordered by. `key` is `<namespace>/<name>`. */
export type ObjectFacts = {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  /** Unix time; undefined where it was not said. */
  readonly createdAtMs: number | undefined;
};

export type KubeServicePort = { readonly name: string; readonly port: number; readonly protocol: string; readonly appProtocol: string };
export type KubeService = ObjectFacts & { readonly type: string; readonly isHeadless: boolean; readonly ports: readonly KubeServicePort[] };

export type KubeEndpoint = {
  readonly address: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly hostname: string;
  readonly nodeName: string;
  readonly zone: string;
  /** Name of the pod behind it; empty where it is something else. */
  readonly pod: string;
};
export type KubeEndpointSlice = ObjectFacts & {
  /** The Service it belongs to; empty where no label says so. */
  readonly service: string;
  readonly addressType: string;
  readonly endpoints: readonly KubeEndpoint[];
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: string }[];
};

export type KubeServiceExport = ObjectFacts & {
  readonly generation: number;
  /** What the annotation `isthmus/consumers` says; undefined without it. */
  readonly consumers: string | undefined;
  readonly conditions: readonly Condition[];
};

/** Label of an EndpointSlice that names its Service. Source: Kubernetes discovery.k8s.io/v1. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
/** Annotation of a ServiceExport: the clusters that may learn of it, or `all`. */
export const CONSUMERS_ANNOTATION = 'isthmus/consumers';

const parseServiceShape = compileSchema(serviceSchema);
const parseSliceShape = compileSchema(endpointSliceSchema);
const parseExportShape = compileSchema(serviceExportSchema);

/** Reads a core/v1 Service. */
export function parseKubeService(input: unknown): Parsed<KubeService> {
  const shape = parseServiceShape(input);
  if (!shape.ok) return shape;
  const { metadata, spec } = shape.value;
  const ports = (spec.ports ?? []).map((p) => ({ name: p.name ?? '', port: p.port, protocol: p.protocol ?? 'TCP', appProtocol: p.appProtocol ?? '' }));
  return parsed({ ...factsOf(metadata), type: spec.type ?? 'ClusterIP', isHeadless: spec.clusterIP === 'None', ports });
}

/**
 * Reads a discovery.k8s.io/v1 EndpointSlice. Conditions that are not said: `ready` counts as true, `serving` as `ready`,
 * `terminating` as false (the API's own words).
 */
export function parseKubeEndpointSlice(input: unknown): Parsed<KubeEndpointSlice> {
  const shape = parseSliceShape(input);
  if (!shape.ok) return shape;
  const { metadata, addressType } = shape.value;
  const endpoints = (shape.value.endpoints ?? []).map((e): KubeEndpoint => {
    const ready = e.conditions?.ready ?? true;
    return {
      address: e.addresses[0] ?? '',
      ready,
      serving: e.conditions?.serving ?? ready,
      terminating: e.conditions?.terminating ?? false,
      hostname: e.hostname ?? '',
      nodeName: e.nodeName ?? '',
      zone: e.zone ?? '',
      pod: e.targetRef?.kind === 'Pod' ? (e.targetRef.name ?? '') : '',
    };
  });
  // A port without a number means every port: nothing that could be listened on.
  const ports = (shape.value.ports ?? []).flatMap((p) => (typeof p.port === 'number' ? [{ name: p.name ?? '', port: p.port, protocol: p.protocol ?? 'TCP' }] : []));
  return parsed({ ...factsOf(metadata), service: metadata.labels?.[SERVICE_NAME_LABEL] ?? '', addressType, endpoints, ports });
}

/** Reads a multicluster.x-k8s.io/v1alpha1 ServiceExport. */
export function parseKubeServiceExport(input: unknown): Parsed<KubeServiceExport> {
  const shape = parseExportShape(input);
  if (!shape.ok) return shape;
  const { metadata, status } = shape.value;
  const consumers = metadata.annotations?.[CONSUMERS_ANNOTATION];
  if (consumers !== undefined && consumers.length > MAX_ANNOTATION_CHARS) return refused(`metadata.annotations.${CONSUMERS_ANNOTATION}`, `is longer than ${MAX_ANNOTATION_CHARS} characters`);
  return parsed({ ...factsOf(metadata), generation: metadata.generation ?? 0, consumers, conditions: status?.conditions ?? [] });
}

function factsOf(metadata: Static<typeof metadataSchema>): ObjectFacts {
  const createdAtMs = Date.parse(metadata.creationTimestamp ?? '');
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    namespace: metadata.namespace,
    name: metadata.name,
    resourceVersion: metadata.resourceVersion,
    createdAtMs: Number.isFinite(createdAtMs) ? createdAtMs : undefined,
  };
}

const listSchema = Type.Object({
  metadata: Type.Object({ resourceVersion: Type.String({ minLength: 1, maxLength: 64 }), continue: optionalText(65_536) }),
  items: Type.Union([Type.Null(), Type.Array(Type.Unknown(), { maxItems: 100_000 })]),
});
const parseListShape = compileSchema(listSchema);

/** One page of a list: its objects unread, the version it is of, and where the next page begins (empty at the end). */
export type ListPage = { readonly resourceVersion: string; readonly next: string; readonly items: readonly unknown[] };

/** Reads one page of a list of anything. */
export function parseListPage(input: unknown): Parsed<ListPage> {
  const shape = parseListShape(input);
  if (!shape.ok) return shape;
  return parsed({ resourceVersion: shape.value.metadata.resourceVersion, next: shape.value.metadata.continue ?? '', items: shape.value.items ?? [] });
}

const eventSchema = Type.Object({ type: Type.String({ maxLength: 32 }), object: Type.Unknown() });
const parseEventShape = compileSchema(eventSchema);
const bookmarkSchema = Type.Object({ metadata: Type.Object({ resourceVersion: Type.String({ minLength: 1, maxLength: 64 }) }) });
const parseBookmark = compileSchema(bookmarkSchema);
const statusSchema = Type.Object({ code: Type.Optional(Type.Integer()), reason: Type.Optional(Type.String()), message: Type.Optional(Type.String()) });
const parseStatusShape = compileSchema(statusSchema);

/** One line of a watch. `version` is where a watch may go on after it. */
export type WatchEvent =
  | { readonly kind: 'put' | 'delete'; readonly object: unknown; readonly version: string }
  | { readonly kind: 'bookmark'; readonly version: string }
  | { readonly kind: 'error'; readonly code: number; readonly message: string };

/** Reads one event of a watch. Source: Kubernetes API concepts, "Efficient detection of changes" and "Watch bookmarks". */
export function parseWatchEvent(input: unknown): Parsed<WatchEvent> {
  const shape = parseEventShape(input);
  if (!shape.ok) return shape;
  const { type, object } = shape.value;
  if (type === 'ERROR') {
    const status = parseStatus(object);
    return parsed({ kind: 'error', ...status });
  }
  const versioned = parseBookmark(object);
  if (!versioned.ok) return versioned;
  const version = versioned.value.metadata.resourceVersion;
  if (type === 'BOOKMARK') return parsed({ kind: 'bookmark', version });
  if (type === 'ADDED' || type === 'MODIFIED') return parsed({ kind: 'put', object, version });
  if (type === 'DELETED') return parsed({ kind: 'delete', object, version });
  return refused('type', `${JSON.stringify(type)} is no kind of watch event`);
}

const MAX_MESSAGE_CHARS = 300;

/** What an API server says went wrong, cut to a line. Code 0 where it said nothing that can be read. */
export function parseStatus(input: unknown): { readonly code: number; readonly message: string } {
  const shape = parseStatusShape(input);
  if (!shape.ok) return { code: 0, message: 'no reason given' };
  const text = [shape.value.reason ?? '', shape.value.message ?? ''].filter((t) => t !== '').join(': ');
  return { code: shape.value.code ?? 0, message: text === '' ? 'no reason given' : text.slice(0, MAX_MESSAGE_CHARS).replaceAll(/[^\x20-\x7e]/g, ' ') };
}

/** The key of an object whose body could not be read, as far as it says one. */
export function keyOfUnread(input: unknown): string {
  const metadata = typeof input === 'object' && input !== null && 'metadata' in input ? input.metadata : undefined;
  if (typeof metadata !== 'object' || metadata === null) return '';
  const { namespace, name: ownName } = metadata as { readonly namespace?: unknown; readonly name?: unknown };
  return typeof namespace === 'string' && typeof ownName === 'string' ? `${namespace}/${ownName}`.slice(0, 320) : '';
}
