// One kind of object in several namespaces, each followed by itself and read as one.
import { follow, type Followed, type FollowOptions } from './follow.ts';
import type { ObjectFacts } from './objects.ts';

/** How one place of a kind stands, for status. */
export type FollowedStatus = {
  readonly resource: string;
  readonly namespace: string;
  readonly known: boolean;
  readonly current: boolean;
  readonly heardAtMs?: number;
  readonly objects: number;
  readonly refused: readonly { readonly object: string; readonly reason: string }[];
  readonly problem?: string;
};

const MAX_REFUSED_SHOWN = 20;

export interface Group<T> {
  get(key: string): T | undefined;
  values(): readonly T[];
  /** True once every namespace was listed whole. */
  isKnown(): boolean;
  status(): readonly FollowedStatus[];
  close(): Promise<void>;
}

/** Follows a kind in these namespaces, or in all without any. */
export function followGroup<T extends ObjectFacts>(namespaces: readonly string[] | undefined, options: Omit<FollowOptions<T>, 'namespace'>): Group<T> {
  const places: readonly (string | undefined)[] = namespaces === undefined || namespaces.length === 0 ? [undefined] : [...new Set(namespaces)];
  const followed = new Map<string | undefined, Followed<T>>(places.map((namespace) => [namespace, follow({ ...options, namespace })]));
  return {
    get(key) {
      const [namespace = ''] = key.split('/');
      return (followed.get(namespace) ?? followed.get(undefined))?.items.get(key);
    },
    values: () => [...followed.values()].flatMap((f) => [...f.items.values()]),
    isKnown: () => [...followed.values()].every((f) => f.state().kind === 'known'),
    status: () => [...followed].map(([namespace, f]) => statusOf(options.kind.plural, namespace ?? '', f)),
    async close() {
      await Promise.all([...followed.values()].map((f) => f.close()));
    },
  };
}

function statusOf<T>(resource: string, namespace: string, followed: Followed<T>): FollowedStatus {
  const state = followed.state();
  const problem = followed.problem();
  return {
    resource,
    namespace,
    known: state.kind === 'known',
    current: state.kind === 'known' && state.current,
    ...(state.kind === 'known' && { heardAtMs: state.heardAtMs }),
    objects: followed.items.size,
    refused: [...followed.refused()].slice(0, MAX_REFUSED_SHOWN).map(([object, reason]) => ({ object, reason })),
    ...(problem !== undefined && { problem }),
  };
}
