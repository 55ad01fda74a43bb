// Sources without a test beside them, and the test that covers each. The architecture test holds this table true.

/**
 * By path, or by folder with a `/` at the end (the longest match counts): a test that imports the source, directly or
 * not, or one under `tests/` that runs it as a process.
 */
export const COVERED_BY: Readonly<Record<string, string>> = {
  'apps/agent/src/': 'tests/e2e/main-walk.test.ts',
  'apps/cli/src/': 'apps/cli/src/program.test.ts',
  'apps/cli/src/demo/': 'tests/e2e/up.test.ts',
  'apps/cli/src/demo/tour/': 'tests/e2e/main-walk.test.ts',
  'apps/control-plane/src/': 'tests/e2e/main-walk.test.ts',
  'apps/gateway/src/': 'tests/e2e/main-walk.test.ts',
  'libs/dataplane/src/dns/answer.ts': 'libs/dataplane/src/dns/server.test.ts',
  'libs/dataplane/src/engine/': 'libs/dataplane/src/proxy/east-west.test.ts',
  'libs/dataplane/src/http/': 'libs/dataplane/src/proxy/http-proxy.test.ts',
  'libs/dataplane/src/proxy/': 'libs/dataplane/src/proxy/tcp-proxy.test.ts',
  'libs/dataplane/src/tls/relay-tls.ts': 'libs/dataplane/src/tls/mutual-tls.test.ts',
  'libs/dataplane/src/upstream/connect.ts': 'libs/dataplane/src/tls/mutual-tls.test.ts',
  'libs/dataplane/src/upstream/grpc-health.ts': 'libs/dataplane/src/upstream/health-check.test.ts',
  'libs/dataplane/src/upstream/pool.ts': 'libs/dataplane/src/proxy/http-proxy.test.ts',
  'libs/dataplane/src/transport/linux/libc.ts': 'libs/dataplane/src/engine/linux/relay.test.ts',
  'libs/dataplane/src/worker/thread.ts': 'libs/dataplane/src/engine/linux/relay.test.ts',
  'libs/discovery/src/': 'libs/discovery/src/push.test.ts',
  'libs/discovery/src/workload-records.ts': 'libs/discovery/src/registry.test.ts',
  'libs/federation/src/': 'libs/federation/src/federation.test.ts',
  'libs/identity/src/': 'libs/identity/src/proxy/join.test.ts',
  'libs/identity/src/authority/': 'libs/identity/src/authority/authority.test.ts',
  'libs/identity/src/trust-root/': 'libs/identity/src/trust-root/trust-root.test.ts',
  'libs/model/src/resource/': 'libs/model/src/resource/resource.test.ts',
  'libs/pki/src/': 'libs/pki/src/verify.test.ts',
  'libs/rpc/src/': 'libs/rpc/src/server.test.ts',
  'libs/runtime/src/config-schema.ts': 'libs/runtime/src/config.test.ts',
  'libs/runtime/src/state-file.ts': 'libs/runtime/src/private-file.test.ts',
  'libs/store/src/': 'libs/store/src/embedded.test.ts',
  'tools/bench/src/': 'tools/bench/src/main.test.ts',
  'tools/bench/src/report/': 'tools/bench/src/report/results.test.ts',
  'tools/bench/src/peers/': 'tools/bench/src/peers/launch.test.ts',
  'tools/fuzz/src/': 'tools/fuzz/src/main.test.ts',
  'tools/generate/src/': 'tools/generate/src/generate.test.ts',
  'tools/test/src/': 'tools/test/src/main.test.ts',
};
