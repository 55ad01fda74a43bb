// What every process needs to live and die well.
export { backoff, type Backoff, type BackoffOptions, retryForever } from './backoff.ts';
export { BoundedQueue, type WhenFull } from './bounded-queue.ts';
export { RetryBudget, type RetryBudgetOptions } from './budget.ts';
export { type Clock, type Random, sleepOn, systemClock, systemRandom, type TimerHandle } from './clock.ts';
export { loadConfig, type LoadConfigOptions, type ReadConfig, readConfig } from './config.ts';
export { type ConfigSchema, environmentName, helpText, keysOf, typeName } from './config-schema.ts';
export { connectionsWithin, descriptorLimit } from './descriptors.ts';
export { type EventLoopOptions, type EventLoopWatch, watchEventLoop } from './event-loop.ts';
export { freePort, freePorts } from './free-port.ts';
export { type HealthServer, serveHealth } from './health.ts';
export { openPeerCredentials, type PeerCredentials, type ReadPeer } from './peer-credentials.ts';
export { makePrivateDir, readPrivateFile, writePrivateFile } from './private-file.ts';
export { type HandOver, portBusy, runProcess, type StartRole, type Stoppable, type StopReason } from './process.ts';
export { handOverSettings, healthSchema, logSchema } from './process-settings.ts';
export { openStateFile, type StateFile } from './state-file.ts';
export { suggest } from './suggest.ts';
export { programVersion } from './version.ts';
export { formatYaml, parseYaml, type YamlDocument } from './yaml.ts';
