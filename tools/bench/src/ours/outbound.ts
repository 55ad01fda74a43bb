// Our agent's outbound proxy in a process of its own: plain in, mutual TLS out to the one endpoint of a snapshot.
import { SERVICE } from './service.ts';
import { serveCommands } from '../system/serve.ts';
import { type AgentSettings, startAgent } from './agent.ts';

serveCommands({
  start: async (settings: AgentSettings) => {
    const proxies = await startAgent(settings);
    const outbound = await proxies.outbound({ listen: { host: '127.0.0.1', port: settings.listenPort }, service: SERVICE, port: 'http', protocol: 'http', svids: 'caller' });
    return { port: outbound.port, about: `${proxies.engine} engine` };
  },
});
