// Starts ours or a peer for what a workload asks.
import { freePort } from '@isthmus/runtime';
import type { BundleFile } from '../system/identity.ts';
import { startPeer } from '../peers/launch.ts';
import type { HttpSpec, SniSpec } from '../peers/proxy-spec.ts';
import type { GatewaySettings } from '../ours/gateway.ts';
import { type Running, startService } from '../system/running.ts';
import { type Bench, type ContenderName, NotSupported } from './workload.ts';

/** Layer 4. */
export async function startSni(bench: Bench, name: ContenderName, spec: Omit<SniSpec, 'kind' | 'listenPort'>): Promise<Running> {
  const listenPort = await freePort();
  if (name !== 'isthmus') return startPeer(programOf(bench, name), { ...spec, kind: 'sni', listenPort }, bench.scratch);
  const settings: GatewaySettings = { listenPort, upstreamPort: spec.upstreamPort, workers: spec.threads, engine: bench.engine };
  return startService(new URL('../ours/gateway.ts', import.meta.url), settings);
}

/** Layer 7. The agent speaks mutual TLS on exactly one side: outbound dials it, inbound accepts it. The gateway does on both. */
export async function startHttp(bench: Bench, name: ContenderName, spec: Omit<HttpSpec, 'kind' | 'listenPort'>, mesh: BundleFile): Promise<Running> {
  const listenPort = await freePort();
  if (name !== 'isthmus') return startPeer(programOf(bench, name), { ...spec, kind: 'http', listenPort }, bench.scratch);
  const settings = { listenPort, upstreamPort: spec.upstreamPort, version: spec.version, mesh, engine: bench.engine };
  if (spec.dial !== undefined && spec.accept === undefined) return startService(new URL('../ours/outbound.ts', import.meta.url), settings);
  if (spec.accept !== undefined && spec.dial === undefined) return startService(new URL('../ours/inbound.ts', import.meta.url), settings);
  if (spec.dial === undefined && spec.accept === undefined && spec.version === '1.1') return startService(new URL('../ours/plain.ts', import.meta.url), { listenPort, upstreamPort: spec.upstreamPort });
  if (spec.dial !== undefined && spec.accept !== undefined && spec.version === '1.1') return startService(new URL('../ours/layer7-gateway.ts', import.meta.url), settings);
  throw new NotSupported('the agent always speaks mutual TLS on one of its sides');
}

/** **Throws** NotSupported when the peer is not installed; the report has said so already. */
function programOf(bench: Bench, name: Exclude<ContenderName, 'isthmus'>) {
  const program = bench.programs.get(name);
  if (program === undefined) throw new NotSupported('not installed');
  return program;
}
