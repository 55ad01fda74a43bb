// What a provider is made of: resources and data sources as declarations that the engine drives. `A` is what the provider block opens.
import type { Problem } from '@isthmus/model';
import type { Attributes } from './attribute.ts';
import type { ValueObject } from './value.ts';

/** What is kept beside the state, in no one's sight: such as the revision the state was read at. */
export type Private = Readonly<Record<string, string>>;

/** State after an operation. `error`: it did not do all that was asked, and this is what there is now; null: nothing. */
export type Outcome = { readonly state: ValueObject | null; readonly private?: Private; readonly error?: unknown; readonly warnings?: readonly string[] };

/** Of one operation: it ends with the signal, which is Terraform's interrupt or the time limit. */
export type Operation = { readonly signal: AbortSignal };

export type Block = {
  readonly description: string;
  readonly attributes: Attributes;
  /** A configuration in HCL that shows it; checked by the tests. */
  readonly example: string;
};

/** What planning adds to the person's configuration. */
export type Planned = { readonly state: ValueObject; readonly problems?: readonly Problem[]; /** Attributes whose change is no reason to make a new one. */ readonly keeps?: readonly string[] };

export type ResourceDefinition<A> = Block & {
  readonly typeName: string;
  /** How `terraform import` names one, such as `cluster/namespace/name`. */
  readonly importId: string;
  readonly version?: number;
  /** What is wrong with a configuration as far as it is known. */
  validate(config: ValueObject): readonly Problem[];
  /** Fills in what the provider knows before; `api` is undefined where the provider block is not known yet. */
  plan?(request: { readonly api: A | undefined; readonly config: ValueObject; readonly prior: ValueObject | null; readonly proposed: ValueObject }): Planned;
  create(api: A, planned: ValueObject, operation: Operation): Promise<Outcome>;
  /** The thing as it is now; a null state: it is gone. */
  read(api: A, state: ValueObject, kept: Private, operation: Operation): Promise<Outcome>;
  update(api: A, planned: ValueObject, prior: ValueObject, kept: Private, operation: Operation): Promise<Outcome>;
  /** **Throws** where it is still there. What is gone already is no failure. */
  remove(api: A, state: ValueObject, kept: Private, operation: Operation): Promise<void>;
  /** The attributes an ID names. **Throws** TERRAFORM_ID_INVALID. */
  fromImportId(id: string, api: A): ValueObject;
};

export type DataSourceDefinition<A> = Block & {
  readonly typeName: string;
  validate(config: ValueObject): readonly Problem[];
  read(api: A, config: ValueObject, operation: Operation): Promise<Outcome>;
};

export type ProviderDefinition<A> = Block & {
  validate(config: ValueObject): readonly Problem[];
  /** Opens nothing yet that could fail for a network’s reason. **Throws** TERRAFORM_CONFIG_INVALID. */
  configure(config: ValueObject): Promise<A>;
  close(api: A): Promise<void>;
  readonly resources: readonly ResourceDefinition<A>[];
  readonly dataSources: readonly DataSourceDefinition<A>[];
};
