// The official TypeScript client, in the era that it and the server agree on.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const client = new Client({ name: 'tests', version: '1' }, { versionNegotiation: { mode: 'auto' } });
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const written = await client.callTool({
  name: 'decide',
  arguments: { choice: 'Use TypeScript', because: 'it is there' },
});
const read = await client.callTool({ name: 'recall', arguments: { query: 'TypeScript' } });
console.log(JSON.stringify({ tools, id: written.structuredContent.id, text: read.content[0].text }));
await client.close();
