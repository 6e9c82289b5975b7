// What a client of OData from npm reads of a dataset at an address; printed as JSON.
const { OData } = require("@odata/client");

async function main(service) {
  const client = OData.New4({ serviceEndpoint: service });
  const sales = client.getEntitySet("sales");
  const french = client.newFilter().property("country").eq("La France");
  const options = client.newOptions().filter(french).select(["orders"]).orderby("orders", "desc").top(2);
  return { filtered: await sales.query(options), count: await sales.count(french) };
}

main(process.argv[2]).then(
  (found) => console.log(JSON.stringify(found)),
  (error) => { console.error(error); process.exit(1); },
);
