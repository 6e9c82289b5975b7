// Event Grid through @azure/eventgrid.
import { AzureKeyCredential, AzureSASCredential, EventGridPublisherClient, generateSharedAccessSignature } from "@azure/eventgrid";

export const eventGrid = {
  async eg_publish({ endpoint, schema, key, signed, events }) {
    let credential = new AzureKeyCredential(key);
    if (signed) {
      const expires = new Date(Date.now() + signed * 1000);
      credential = new AzureSASCredential(await generateSharedAccessSignature(endpoint, credential, expires));
    }
    const client = new EventGridPublisherClient(endpoint, schema, credential, {
      allowInsecureConnection: true, // it speaks HTTP, on this machine alone
      retryOptions: { maxRetries: 0 },
    });
    await client.send(events);
  },
};
