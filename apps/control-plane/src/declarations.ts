// All that is declared in this cluster: by operators in the store, and where it is configured by Kubernetes. Operators win.
import { join } from 'node:path';
import type { Registry } from '@isthmus/discovery';
import type { KubernetesSource } from '@isthmus/discovery/kubernetes';
import type { Federation } from '@isthmus/federation';
import { formatServiceName, type ServiceName } from '@isthmus/model';
import { type Clock, openStateFile, type Random } from '@isthmus/runtime';
import type { Store } from '@isthmus/store';
import type { Log, Metrics } from '@isthmus/telemetry';
import type { Config } from './config.ts';
import { openResources, type Resources } from './resources.ts';

export type Declarations = Resources & {
  /** What Kubernetes declares, as far as it is not overruled; undefined where it is not configured. */
  readonly kubernetesStatus: () => object | undefined;
  /** When an export was made, as far as that is known: of a ServiceExport, its creation. */
  readonly exportedAtMs: (name: ServiceName) => number | undefined;
  /** The conditions of ServiceExports hang on what other clusters offer as well. */
  readonly followFederation: (federation: Pick<Federation, 'importsOf' | 'onImports'>) => void;
};

type Parts = { readonly store: Store; readonly registry: Registry; readonly clock: Clock; readonly random: Random; readonly log: Log; readonly metrics: Metrics };

/**
 * Opens both; waits for the store and never for Kubernetes. `onChange` gets the services whose declaration or export
 * changed. **Throws** DISCOVERY_KUBERNETES_CONFIG.
 */
export async function openDeclarations(config: Pick<Config, 'kubernetes' | 'stateDir'>, parts: Parts & { readonly onChange: (changed: readonly ServiceName[]) => void }): Promise<Declarations> {
  const resources = await openResources(parts);
  if (config.kubernetes === undefined) return { ...resources, kubernetesStatus: () => undefined, exportedAtMs: () => undefined, followFederation: () => undefined };
  let importsOf: Federation['importsOf'] = () => [];
  // Its client is large, and few clusters have one.
  const { openKubernetesSource } = await import('@isthmus/discovery/kubernetes');
  const kubernetes = await openKubernetesSource({
    ...config.kubernetes,
    stateFile: openStateFile(join(config.stateDir, 'kubernetes.last-known')),
    facts: (name) => ({ imports: importsOf(name), registeredCount: parts.registry.capacity(name).totalCount }),
    ...parts,
  });
  kubernetes.onChange(parts.onChange);
  parts.registry.onChange((changed) => kubernetes.reconsider(changed));
  return {
    ...withKubernetes(resources, kubernetes),
    kubernetesStatus: () => ({ ...kubernetes.status(), overruled: kubernetes.services().filter((s) => resources.service(s) !== undefined).map(formatServiceName) }),
    exportedAtMs: (name) => (resources.export(name) === undefined ? kubernetes.exportedAtMs(name) : undefined),
    followFederation(federation) {
      importsOf = (name) => federation.importsOf(name);
      federation.onImports((changed) => kubernetes.reconsider(changed));
    },
  };
}

/** Both as one: what an operator declared goes before what Kubernetes has under the same name, each kind by itself. */
export function withKubernetes(resources: Resources, kubernetes: Pick<KubernetesSource, 'services' | 'exports' | 'service' | 'export' | 'onChange' | 'close'>): Resources {
  return {
    ...resources,
    services: () => [...resources.services(), ...kubernetes.services().filter((s) => resources.service(s) === undefined)],
    exports: () => [...resources.exports(), ...kubernetes.exports().filter((e) => resources.export(e) === undefined)],
    service: (name) => resources.service(name) ?? kubernetes.service(name),
    export: (name) => resources.export(name) ?? kubernetes.export(name),
    onChange(fn) {
      const stops = [resources.onChange(fn), kubernetes.onChange(fn)];
      return () => {
        for (const stop of stops) stop();
      };
    },
    async close() {
      await kubernetes.close();
      await resources.close();
    },
  };
}
