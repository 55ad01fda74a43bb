// Logs and metrics: names declared once, sinks bounded.
export { type Log, type LogFields, type LogLevel, type LogOptions, openLog, silentLog } from './log.ts';
export { type BoundCounter, type Counter, type Gauge, type Histogram, type Labels, type Metrics, openMetrics } from './metrics.ts';
export { isAtLeast, type RecentLine, RecentLines } from './recent.ts';
export { redact, Secret } from './secret.ts';
