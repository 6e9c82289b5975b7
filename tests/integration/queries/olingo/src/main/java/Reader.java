import java.math.BigDecimal;
import java.net.URI;
import java.sql.Timestamp;
import org.apache.olingo.client.api.EdmEnabledODataClient;
import org.apache.olingo.client.api.ODataClient;
import org.apache.olingo.client.api.domain.ClientEntity;
import org.apache.olingo.client.api.domain.ClientEntitySet;
import org.apache.olingo.client.core.ODataClientFactory;
import org.apache.olingo.commons.api.edm.Edm;
import org.apache.olingo.commons.api.edm.EdmEntityType;
import org.apache.olingo.commons.api.edm.FullQualifiedName;
import org.apache.olingo.commons.api.format.ContentType;

/** Reads metadata, service document, pages and one row as Apache Olingo does, which checks values against their types. */
public class Reader {
  public static void main(String[] arguments) throws Exception {
    String service = arguments[0];
    ODataClient client = ODataClientFactory.getClient();
    client.getConfiguration().setDefaultPubFormat(ContentType.JSON);
    var requests = client.getRetrieveRequestFactory();
    Edm edm = requests.getMetadataRequest(service).execute().getBody();
    EdmEntityType type = edm.getEntityType(new FullQualifiedName("Sluice", "orders_row"));
    System.out.println("key " + type.getKeyPredicateNames());
    System.out.println("sets " + requests.getServiceDocumentRequest(service).execute().getBody().getEntitySetNames());
    EdmEnabledODataClient typed = ODataClientFactory.getEdmEnabledClient(service, edm, null);
    URI next = typed.newURIBuilder(service).appendEntitySetSegment("orders").filter("country eq 'France'").count(true).build();
    while (next != null) {
      var request = typed.getRetrieveRequestFactory().getEntitySetRequest(next);
      request.setPrefer("odata.maxpagesize=2");
      ClientEntitySet page = request.execute().getBody();
      System.out.println("page of " + page.getCount());
      for (ClientEntity one : page.getEntities()) {
        var total = one.getProperty("total").getPrimitiveValue();
        var placed = one.getProperty("placedAt").getPrimitiveValue();
        System.out.println(
            one.getProperty("orderId").getPrimitiveValue()
                + " " + total.getTypeName() + " " + total.toCastValue(BigDecimal.class)
                + " " + placed.getTypeName() + " " + placed.toCastValue(Timestamp.class).toInstant());
      }
      next = page.getNext();
    }
    URI one = client.newURIBuilder(service).appendEntitySetSegment("orders").appendKeySegment("3").build();
    System.out.println("one " + requests.getEntityRequest(one).execute().getBody().getProperty("country").getValue());
  }
}
