// Posts each response of this form to CallKaro Bridge. Write your two values, then run install().
const URL = "https://<your bridge>/webhooks/google-forms";
const TOKEN = "<GOOGLE_FORMS_WEBHOOK_SECRET>";

// Run once: from then on, Google runs sendResponse() after each response.
function install() {
  const form = FormApp.getActiveForm();
  for (const trigger of ScriptApp.getProjectTriggers()) {
    if (trigger.getHandlerFunction() === "sendResponse") ScriptApp.deleteTrigger(trigger);
  }
  ScriptApp.newTrigger("sendResponse").forForm(form).onFormSubmit().create();
}

function sendResponse(e) {
  const answers = {};
  for (const one of e.response.getItemResponses()) {
    const title = one.getItem().getTitle();
    if (!answers[title]) answers[title] = one.getResponse();
  }
  post_({
    form: { id: e.source.getId(), title: e.source.getTitle() },
    response: {
      id: e.response.getId(),
      submitted_at: e.response.getTimestamp().toISOString(),
      email: e.response.getRespondentEmail(),
    },
    answers: answers,
  });
}

// Run by hand: the bridge keeps this event and calls nobody.
function sendTest() {
  const form = FormApp.getActiveForm();
  const now = new Date().toISOString();
  post_({
    form: { id: form.getId(), title: form.getTitle() },
    response: { id: "test-" + now, submitted_at: now },
    answers: { Name: "Test" },
    is_test: true,
  });
}

// Three attempts: the bridge counts a response once. After the third, Google mails you the error.
function post_(body) {
  const request = {
    method: "post",
    contentType: "application/json",
    headers: { "X-Webhook-Token": TOKEN },
    payload: JSON.stringify(body),
    muteHttpExceptions: true,
  };
  let problem = "";
  for (let attempt = 0; attempt < 3; attempt++) {
    if (attempt) Utilities.sleep(20000);
    try {
      const answer = UrlFetchApp.fetch(URL, request);
      const status = answer.getResponseCode();
      if (status < 300) return;
      problem = status + " " + answer.getContentText().slice(0, 300);
      if (status < 500 && status !== 429) break; // another attempt has the same answer
    } catch (error) {
      problem = String(error); // the bridge was not reached
    }
  }
  throw new Error("CallKaro Bridge did not take the response: " + problem);
}
